"""Watching a run without labels: how its features lie, and whether they are collapsing."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import ManifestRows, TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, Encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.feature_geometry import alignment, effective_rank, feature_spread, uniformity
from ssl_sbir.seeding import seed_everything
from ssl_sbir.training.recipe import Recipe

MONITOR_BATCH = 64
MonitorFacts = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Monitor:
    """Looks at an encoder's features of some of a run's images, the same ones at every look.

    Attributes:
        recipe: gives settings and views.
        data: the images of the run.
        rows: what is looked at of each domain.
    """

    recipe: Recipe
    data: TrainingSet
    rows: Mapping[Domain, ManifestRows]

    @classmethod
    def for_run(cls, recipe: Recipe, data: TrainingSet) -> "Monitor":
        """A monitor over up to `monitor.images` images of each domain that has two or more, drawn by the seed.

        Raises:
            ConfigError: retrieval of seen classes is asked for, but no split says which are seen.
        """
        config = recipe.config
        if config.monitor.seen and data.restricted_to is None:
            raise ConfigError(
                "monitor.seen: no split says which classes are seen, and unseen ones must stay out",
                "Name one (--split), or leave monitor.seen off.",
            )
        random = np.random.default_rng(config.seed)
        rows = {of: random.permutation(data.rows[of])[: config.monitor.images] for of in Domain}
        return cls(recipe, data, {of: part for of, part in rows.items() if len(part) > 1})

    def is_due(self, step: int, total: int) -> bool:
        """Whether to look after that step: after every so many, and after the last one."""
        steps = self.recipe.config.monitor.steps
        return bool(steps) and (step % steps == 0 or step == total)

    @torch.no_grad()
    def measure_features(self, encoder: Encoder, step: int) -> MonitorFacts:
        """Alignment, uniformity, rank and spread of each domain; with `monitor.seen` retrieval too.

        Means that the encoder takes off are left on: what is left of features that have collapsed is noise, and
        spread as wide as can be. Leaves the encoder in evaluation mode. Draws views of its own: the engine seeds
        every step anew.
        """
        seed_everything(self.recipe.config.seed, step)
        encoder.eval()
        if isinstance(encoder, DomainCentredEncoder):
            encoder = encoder.encoder
        views = {of: [self._embed_rows(encoder, rows) for _ in range(2)] for of, rows in self.rows.items()}
        facts: MonitorFacts = {
            of.name.lower(): {
                "alignment": alignment(first, second),
                "uniformity": uniformity(first),
                "rank": effective_rank(first),
                "spread": feature_spread(first),
            }
            for of, (first, second) in views.items()
        }
        if self.recipe.config.monitor.seen:
            facts["seen"] = self._seen_class_retrieval(encoder)
        return facts

    def warn_of_collapse(self, facts: MonitorFacts, step: int) -> None:
        """Says on stderr which domain's features have collapsed."""
        config = self.recipe.config.monitor
        for name, values in facts.items():
            for what, least in (("rank", config.least_rank), ("spread", config.least_spread)):
                if values.get(what, least) < least:
                    print(
                        f"warning: {name} features are collapsing at step {step}: {what} {values[what]:.3g}"
                        f" is below {least:g} (monitor.least_{what}). Lower optim.lr, or take another recipe.",
                        file=sys.stderr,
                        flush=True,
                    )

    def _embed_rows(
        self, encoder: Encoder, rows: ManifestRows, *, augmented: bool = True
    ) -> Float[Tensor, "n width"]:
        device, parts = encoder.mean.device, []
        for start in range(0, len(rows), MONITOR_BATCH):
            batch = self.data.read_batch(rows[start : start + MONITOR_BATCH]).to(device)
            image = self.recipe.augment(batch.image, batch.domain) if augmented else batch.image
            parts.append(encoder(image, batch.domain).float())
        return torch.cat(parts)

    def _seen_class_retrieval(self, encoder: Encoder) -> dict[str, float]:
        assert self.data.restricted_to is not None
        if self.data.classes:  # fine-tuning: the labels that the run may read, and no other
            codes = self.data.labels.numpy()
            rows = {of: part[codes[part] >= 0] for of, part in self.rows.items()}
        else:
            names, codes = np.array(self.data.manifest.classes), self.data.manifest.label
            seen = np.flatnonzero(np.isin(names, self.data.restricted_to))
            rows = {of: part[np.isin(codes[part], seen)] for of, part in self.rows.items()}
        if len(rows) < 2 or not all(len(part) for part in rows.values()):
            return {}
        features, labels = {}, {}
        for of, part in rows.items():
            own = self._embed_rows(encoder, part, augmented=False)
            features[of] = F.normalize(own - own.mean(0))
            labels[of] = torch.from_numpy(codes[part].astype(np.int64)).to(own.device)
        cosine = features[Domain.SKETCH] @ features[Domain.PHOTO].T
        return {"map": mean_average_precision(cosine, labels[Domain.SKETCH], labels[Domain.PHOTO])}


def mean_average_precision(
    score: Float[Tensor, "q n"], query: Int[Tensor, " q"], gallery: Int[Tensor, " n"]
) -> float:
    """Mean over queries, of those with a relevant item, of the mean precision at each relevant item."""
    relevant = (query[:, None] == gallery[None, :]).gather(1, score.argsort(1, descending=True)).float()
    place = torch.arange(1, len(gallery) + 1, device=score.device)
    precision = (relevant.cumsum(1) / place * relevant).sum(1) / relevant.sum(1).clamp(min=1)
    return precision[relevant.any(1)].mean().item()
