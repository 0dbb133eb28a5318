"""Evaluation of runs that read text: the text audit, and features of runs whose gallery reads labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.batches import Pack, load_batch
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.encoders import Encoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.encoders.teacher_beside import TeacherBesideEncoder
from ssl_sbir.evaluation.audits.retrieval_audits import integrity_verdict
from ssl_sbir.evaluation.audits.text_audits import text_audit
from ssl_sbir.evaluation.metrics.split_evaluation import SplitEvaluation
from ssl_sbir.evaluation.split_features import EncoderEmbedder
from ssl_sbir.fusion import LabelTextTower, TextTower
from ssl_sbir.fusion.training_texts import readable_name

AUDITED_DRAWINGS = 1000  # evenly spread drawings whose texts are audited
AUDITED_IMAGES = 200  # the same where the network must see each image with each text


def label_embedder(tower: LabelTextTower, device: str = "cpu") -> EncoderEmbedder:
    """The embedder of a run in which sketches and photos both read the name of their class."""

    @torch.no_grad()
    def embed_with_labels(
        encoder: Encoder, pack: Pack, manifest: Manifest, rows: ManifestRows
    ) -> Float[Tensor, "n d"]:
        images = F.normalize(embed_rows(encoder, pack, manifest, rows, device=device), dim=1)
        texts = tower.encoder([readable_name(manifest.classes[label]) for label in manifest.label[rows]])
        sketch = torch.from_numpy(manifest.domain[rows] == Domain.SKETCH)
        queries, photos = tower.fusion(images, texts, 0.5)[0], tower.embed_photos(images, texts)
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
    """The evaluation with the text audit added.

    Args:
        evaluation: of features that aren't centred.
        tower: the run's text side; one with its teacher's code beside its own embeds the images itself.
        texts: one per query; by default the drawing's own from texts.csv, else the name of its class.
        seed: of the assignment of contradicting texts to drawings.
        device: where drawings are embedded.
    """
    test, features = evaluation.test_set, evaluation.features
    all_texts = list(texts) if texts is not None else query_texts(test.manifest, test.queries)
    most = AUDITED_IMAGES if tower.needs_images else AUDITED_DRAWINGS
    chosen = np.unique(np.linspace(0, len(test.queries) - 1, most).astype(np.int64))
    audited_texts = [all_texts[index] for index in chosen]
    labels = features.query_labels[torch.from_numpy(chosen)].cpu()
    beside, pack = isinstance(tower.image_encoder, TeacherBesideEncoder), test.pack
    if beside:
        preprocess = tower.image_encoder.preprocess
        pack = prepare_pack(test.manifest, preprocess.size, fit=preprocess.fit)
    drawings = _tower_sketch_inputs(tower, pack, test.manifest, test.queries[chosen], device)

    def fuse_queries(sketch: bool, texts: Sequence[str] | None, share: float | None) -> Tensor:
        weights = None if share is None else (share, 1 - share)
        return tower.fuse(drawings if sketch else None, texts, weights).vector

    photos = (
        embed_rows(tower.image_encoder, pack, test.manifest, test.gallery, device=device)
        if beside
        else features.gallery.cpu().float()
    )
    gallery = F.normalize(photos, dim=1)
    gallery_labels, share = features.gallery_labels.cpu(), tower.weights[0]
    audit = text_audit(fuse_queries, audited_texts, labels, gallery, gallery_labels, share, seed=seed)
    audits = {**evaluation.result.audits, "text dominance": audit}
    return replace(
        evaluation, result=replace(evaluation.result, audits=audits, verdict=integrity_verdict(audits))
    )


def _tower_sketch_inputs(
    tower: TextTower, pack: Pack, manifest: Manifest, rows: ManifestRows, device: str
) -> Tensor:
    """The tower's input for some drawings: images if it needs them, else features."""
    if tower.needs_images:
        return load_batch(pack, manifest, rows).to("cpu").image
    return embed_rows(tower.image_encoder, pack, manifest, rows, device=device)


def query_texts(manifest: Manifest, rows: ManifestRows) -> list[str]:
    """The text of each drawing: its own if the data has one, else the name of its class."""
    return [
        manifest.text_of_row(int(row)) or readable_name(manifest.classes[manifest.label[row]]) for row in rows
    ]
