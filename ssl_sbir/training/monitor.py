"""Measures of a run's features without labels, and a warning when they collapse."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain, ManifestRows
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, Encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.feature_geometry import alignment, effective_rank, feature_spread, uniformity
from ssl_sbir.seeding import seed_everything
from ssl_sbir.training.recipe import Recipe

MONITOR_BATCH = 64
MonitorFacts = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Monitor:
    """Measures an encoder's features of a sample of a run's images, the same ones at every check.

    Attributes:
        recipe: gives settings and views.
        data: the images of the run.
        rows: the sample of each domain.
    """

    recipe: Recipe
    data: TrainingSet
    rows: Mapping[Domain, ManifestRows]

    @classmethod
    def for_run(cls, recipe: Recipe, data: TrainingSet) -> "Monitor":
        """A monitor of up to `monitor.images` images of each domain that has two or more, sampled by the seed.

        Raises:
            ConfigError: `monitor.seen_retrieval` is on, but no split says which classes are seen.
        """
        config = recipe.config
        if config.monitor.seen_retrieval and data.restricted_to is None:
            raise ConfigError(
                "monitor.seen_retrieval: no split says which classes are seen, and unseen ones must stay out",
                "Name one (--split), or leave monitor.seen_retrieval off.",
            )
        random = np.random.default_rng(config.seed)
        rows = {of: random.permutation(data.rows[of])[: config.monitor.images] for of in Domain}
        return cls(recipe, data, {of: part for of, part in rows.items() if len(part) > 1})

    def is_due(self, step: int, total: int) -> bool:
        """Whether to measure after that step: at regular intervals, and after the last one."""
        steps = self.recipe.config.monitor.steps
        return bool(steps) and (step % steps == 0 or step == total)

    @torch.no_grad()
    def measure_features(self, encoder: Encoder, step: int) -> MonitorFacts:
        """Alignment, uniformity, rank and spread of each domain; with `monitor.seen_retrieval`, mAP too.

        Domain means that the encoder subtracts are not subtracted here: without them, collapsed features are noise,
        which is widely spread. Leaves the encoder in evaluation mode. Seeds its own random views; the training loop
        seeds every step again.
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
        if self.recipe.config.monitor.seen_retrieval:
            facts["seen"] = self._seen_class_retrieval(encoder)
        return facts

    def warn_of_collapse(self, facts: MonitorFacts, step: int) -> None:
        """Prints on stderr which domain's features have collapsed."""
        config = self.recipe.config.monitor
        for name, values in facts.items():
            for measure, minimum in (("rank", config.min_rank), ("spread", config.min_spread)):
                if values.get(measure, minimum) < minimum:
                    print(
                        f"warning: {name} features are collapsing at step {step}: {measure} {values[measure]:.3g}"
                        f" is below {minimum:g} (monitor.min_{measure}). Lower optim.lr, or use another recipe.",
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
        if self.data.classes:  # fine-tuning: only the labels that the run may read
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
    """Mean average precision over the queries that have a relevant gallery item."""
    relevant = (query[:, None] == gallery[None, :]).gather(1, score.argsort(1, descending=True)).float()
    rank = torch.arange(1, len(gallery) + 1, device=score.device)
    precision = (relevant.cumsum(1) / rank * relevant).sum(1) / relevant.sum(1).clamp(min=1)
    return precision[relevant.any(1)].mean().item()
