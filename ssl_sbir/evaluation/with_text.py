"""Evaluation of a run that reads text: its audit, and features where even the gallery reads labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.batches import Pack, load_batch
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.encoders import Encoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.evaluation.audits.retrieval_audits import integrity_verdict
from ssl_sbir.evaluation.audits.text_audits import text_audit
from ssl_sbir.evaluation.evaluate_run import SplitEvaluation
from ssl_sbir.evaluation.split_features import EncoderEmbedder
from ssl_sbir.fusion import LabelTextTower, TextTower
from ssl_sbir.fusion.training_texts import readable_name

TextAuditRows = npt.NDArray[np.int64]
AUDITED_DRAWINGS = 1000  # drawings, evenly spread, whose texts are audited
AUDITED_IMAGES = 200  # where each must pass the network beside each text


def label_embedder(tower: LabelTextTower, device: str = "cpu") -> EncoderEmbedder:
    """Features of a run whose two sides both read the name of each image's class, for `evaluate(embedder=)`."""

    @torch.no_grad()
    def embed_with_labels(
        encoder: Encoder, pack: Pack, manifest: Manifest, rows: TextAuditRows
    ) -> Float[Tensor, "n d"]:
        seen = F.normalize(embed_rows(encoder, pack, manifest, rows, device=device), dim=1)
        words = tower.encoder([readable_name(manifest.classes[label]) for label in manifest.label[rows]])
        sketch = torch.from_numpy(manifest.domain[rows] == Domain.SKETCH)
        queries, photos = tower.fusion(seen, words, 0.5)[0], tower.embed_photos(seen, words)
        return torch.where(sketch[:, None], queries, photos)

    return embed_with_labels


@torch.no_grad()
def add_text_audit(
    evaluation: SplitEvaluation,
    tower: TextTower,
    texts: Sequence[str] | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> SplitEvaluation:
    """The same evaluation with the audit of its text.

    Args:
        evaluation: by features that aren't centred.
        tower: the run's text side.
        texts: one for each query; by default a drawing's own from texts.csv, else the name of its class.
        seed: decides which text contradicts which drawing.
        device: where drawings are embedded.
    """
    test, features = evaluation.test_set, evaluation.features
    told = list(texts) if texts is not None else query_texts(test.manifest, test.queries)
    most = AUDITED_IMAGES if tower.needs_images else AUDITED_DRAWINGS
    chosen = np.unique(np.linspace(0, len(test.queries) - 1, most).astype(np.int64))
    told, rows = [told[place] for place in chosen], test.queries[chosen]
    labels = features.query_labels[torch.from_numpy(chosen)].cpu()
    drawn = _tower_sketch_inputs(tower, test.pack, test.manifest, rows, device)

    def fuse_queries(sketch: bool, texts: Sequence[str] | None, share: float | None) -> Tensor:
        weights = None if share is None else (share, 1 - share)
        return tower.fuse(drawn if sketch else None, texts, weights).vector

    gallery = F.normalize(features.gallery.cpu().float(), dim=1)
    audit = text_audit(
        fuse_queries, told, labels, gallery, features.gallery_labels.cpu(), tower.weights[0], seed=seed
    )
    audits = {**evaluation.result.audits, "text dominance": audit}
    return replace(
        evaluation, result=replace(evaluation.result, audits=audits, verdict=integrity_verdict(audits))
    )


def _tower_sketch_inputs(
    tower: TextTower, pack: Pack, manifest: Manifest, rows: TextAuditRows, device: str
) -> Tensor:
    """Drawings as the tower takes them: features where they will do, images where it reads them."""
    if tower.needs_images:
        return load_batch(pack, manifest, rows).to("cpu").image
    return embed_rows(tower.image_encoder, pack, manifest, rows, device=device)


def query_texts(manifest: Manifest, rows: TextAuditRows) -> list[str]:
    """The text beside each drawing: its own where the data has one, else the name of its class."""
    return [
        manifest.text_of_row(int(row)) or readable_name(manifest.classes[manifest.label[row]]) for row in rows
    ]
