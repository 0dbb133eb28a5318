"""Crossmodal: a photo finds its own drawing among all others, and the drawing its photo.

Ours; the loss is InfoNCE in both directions (van den Oord 2018, CLIP's form), the re-weighting of negatives that
of J. Robinson, C.-Y. Chuang, S. Sra, S. Jegelka: Contrastive Learning with Hard Negative Samples, ICLR 2021.

Terms
    contrast   a photo against its pseudo-sketch (edges by `edges`, bent, thickened and interrupted like lines of
               a hand), both ways, similar negatives weighing more by `hard_negative_beta`.
    pairs      with `batch.pairs`: the same between real sketches and the photos they were drawn after.
    preserve   the frozen teacher's distribution over ImageNet's classes for a photo, recalled from the photo and
               from its pseudo-sketch: what keeps the contrast from wearing the encoder's knowledge away.

Real sketches, where there are any and no pair is known, only move the normalisation and the domain's mean; without
any, the pseudo-sketches' mean is taken for theirs.

Run    ssl-sbir pretrain crossmodal --data folder:archive/ --out runs/archive
Cost   each photo passes the encoder twice, each sketch once.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from ssl_sbir.augment.kornia_views import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.pseudo_sketches import EdgeDetector, PseudoSketcher
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.contrastive import symmetric_info_nce
from ssl_sbir.objectives.teacher_distillation import (
    DistillationConfig,
    DistillationModel,
    TeacherDistillation,
    check_has_photos,
)
from ssl_sbir.training.recipe import BatchConfig, OptimConfig, Recipe, register_recipe


class CrossmodalConfig(DistillationConfig):
    """Settings of crossmodal."""

    edge_detector: EdgeDetector = Field(
        "mixed", description="what draws a photo's pseudo-sketch; hed needs its package"
    )
    temperature: PositiveFloat = Field(0.1, description="of the contrast's softmax")
    hard_negative_beta: NonNegativeFloat = Field(
        0.0, description="how much more a similar negative weighs; 0 = all alike"
    )
    contrast: NonNegativeFloat = Field(1.0, description="weight of the contrast")
    augment: AugmentConfig = Field(
        AugmentConfig(elastic=0.015, stroke_width=0.5, stroke_gaps=0.5), description=""
    )
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=16), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=6), description="")


@register_recipe("crossmodal")
class Crossmodal(Recipe[CrossmodalConfig]):
    """A photo finds its own drawing."""

    Config = CrossmodalConfig
    stage = "pretraining"
    summary = "a photo finds its own pseudo-sketch, what ImageNet taught is kept"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.preservation = TeacherDistillation(self.config)
        return DistillationModel(*self.preservation.encoder_and_head(encoder))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Asks the teacher about the photos, and draws their edges where a network does it."""
        check_has_photos(self.name, self.config.batch)
        device = str(model.recall.weight.device)
        self.drawings = PseudoSketcher.for_training_set(self.config.edge_detector, data, device)
        self.preservation.query_teacher(data, device)
        self.instance = torch.from_numpy(data.manifest.instance)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        photo = batch.domain == Domain.PHOTO
        image = torch.cat([batch.image, self.drawings(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        code = model.coded(self.augment(image, domain), domain)
        watched = len(image) if photo.all() else len(photo)
        model.encoder.watch(code[:watched], domain[:watched])
        real, pseudo = code[: len(photo)][photo], code[len(photo) :]
        contrast = symmetric_info_nce(real, pseudo, self.config.temperature, self.config.hard_negative_beta)
        terms = {"contrast": self.config.contrast * contrast}
        terms |= self.preservation.loss_terms(model.recall(torch.cat([real, pseudo])), batch.row[photo])
        if self.config.batch.pairs:
            sketch, own = self._matched_pairs(batch)
            if len(sketch):
                pairs = symmetric_info_nce(
                    code[sketch], code[own], self.config.temperature, self.config.hard_negative_beta
                )
                terms["pairs"] = self.config.contrast * pairs
        return terms

    def _matched_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Places in the batch of sketches, and of the photos they were drawn after; one sketch of each photo."""
        instance, photo = self.instance[batch.row.cpu()].to(batch.row.device), batch.domain == Domain.PHOTO
        same = (instance[:, None] == instance[None, :]) & ~photo[:, None] & photo[None, :]
        same &= (instance >= 0)[:, None]
        own = same.any(0).nonzero()[:, 0]
        return same[:, own].int().argmax(0), own
