"""Evaluation of a run that reads text: its audit, and features where even the gallery reads labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.loading import Pack, load_batch
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.encoders import Encoder
from ssl_sbir.evaluation.audits import verdict
from ssl_sbir.evaluation.evaluate import Evaluated
from ssl_sbir.evaluation.split_features import Embed
from ssl_sbir.evaluation.text_audits import text_audit
from ssl_sbir.fusion import LabelTower, TextTower
from ssl_sbir.fusion.texts import spoken
from ssl_sbir.retrieval.embeddings import embed

Rows = npt.NDArray[np.int64]
AUDITED = 1000  # drawings, evenly spread, whose texts are audited
AUDITED_IMAGES = 200  # where each must pass the network beside each text


def label_reader(tower: LabelTower, device: str = "cpu") -> Embed:
    """Features of a run whose two sides both read the name of each image's class, for `evaluate(embedder=)`."""

    @torch.no_grad()
    def features(encoder: Encoder, pack: Pack, manifest: Manifest, rows: Rows) -> Float[Tensor, "n d"]:
        seen = F.normalize(embed(encoder, pack, manifest, rows, device=device), dim=1)
        words = tower.encoder([spoken(manifest.classes[label]) for label in manifest.label[rows]])
        sketch = torch.from_numpy(manifest.domain[rows] == Domain.SKETCH)
        queries, photos = tower.fusion(seen, words, 0.5)[0], tower.photos(seen, words)
        return torch.where(sketch[:, None], queries, photos)

    return features


@torch.no_grad()
def with_text(
    evaluated: Evaluated,
    tower: TextTower,
    texts: Sequence[str] | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Evaluated:
    """The same evaluation with the audit of its text.

    Args:
        evaluated: by features that aren't centred.
        tower: the run's text side.
        texts: one for each query; by default a drawing's own from texts.csv, else the name of its class.
        seed: decides which text contradicts which drawing.
        device: where drawings are embedded.
    """
    test, features = evaluated.test, evaluated.features
    told = list(texts) if texts is not None else texts_of(test.manifest, test.queries)
    most = AUDITED_IMAGES if tower.needs_images else AUDITED
    chosen = np.unique(np.linspace(0, len(test.queries) - 1, most).astype(np.int64))
    told, rows = [told[place] for place in chosen], test.queries[chosen]
    labels = features.query_labels[torch.from_numpy(chosen)].cpu()
    drawn = _drawn(tower, test.pack, test.manifest, rows, device)

    def fuse(sketch: bool, texts: Sequence[str] | None, share: float | None) -> Tensor:
        weights = None if share is None else (share, 1 - share)
        return tower.fuse(drawn if sketch else None, texts, weights).vector

    gallery = F.normalize(features.gallery.cpu().float(), dim=1)
    audit = text_audit(
        fuse, told, labels, gallery, features.gallery_labels.cpu(), tower.weights[0], seed=seed
    )
    audits = {**evaluated.result.audits, "text dominance": audit}
    return replace(evaluated, result=replace(evaluated.result, audits=audits, verdict=verdict(audits)))


def _drawn(tower: TextTower, pack: Pack, manifest: Manifest, rows: Rows, device: str) -> Tensor:
    """Drawings as the tower takes them: features where they will do, images where it reads them."""
    if tower.needs_images:
        return load_batch(pack, manifest, rows).to("cpu").image
    return embed(tower.image_encoder, pack, manifest, rows, device=device)


def texts_of(manifest: Manifest, rows: Rows) -> list[str]:
    """The text beside each drawing: its own where the data has one, else the name of its class."""
    return [manifest.text_of(int(row)) or spoken(manifest.classes[manifest.label[row]]) for row in rows]
