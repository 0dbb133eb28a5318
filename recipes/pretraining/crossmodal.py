"""Crossmodal: a photo finds its own drawing among all others, and the drawing its photo.

Ours; the loss is InfoNCE in both directions (van den Oord 2018, CLIP's form), the re-weighting of negatives that
of J. Robinson, C.-Y. Chuang, S. Sra, S. Jegelka: Contrastive Learning with Hard Negative Samples, ICLR 2021.

Terms
    contrast   a photo against its pseudo-sketch (edges by `edges`, bent, thickened and interrupted like lines of
               a hand), both ways, similar negatives weighing more by `hardness`.
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

from ssl_sbir.augment import AugmentConfig
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.edges.drawings import Detector, Drawings
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.contrast import both_ways
from ssl_sbir.objectives.recalling import Preservation, RecallConfig, Recalling, refuse_no_photos
from ssl_sbir.recipe import BatchConfig, OptimConfig, Recipe, register


class CrossmodalConfig(RecallConfig):
    """Settings of crossmodal."""

    edges: Detector = Field("mixed", description="what draws a photo's pseudo-sketch; hed needs its package")
    temperature: PositiveFloat = Field(0.1, description="of the contrast's softmax")
    hardness: NonNegativeFloat = Field(
        0.0, description="how much more a similar negative weighs; 0 = all alike"
    )
    contrast: NonNegativeFloat = Field(1.0, description="weight of the contrast")
    augment: AugmentConfig = Field(AugmentConfig(wobble=0.015, ink=0.5, gaps=0.5), description="")
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=16), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=6), description="")


@register("crossmodal")
class Crossmodal(Recipe[CrossmodalConfig]):
    """A photo finds its own drawing."""

    Config = CrossmodalConfig
    stage = "pretraining"
    summary = "a photo finds its own pseudo-sketch, what ImageNet taught is kept"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.preservation = Preservation(self.config)
        return Recalling(*self.preservation.parts(encoder))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Asks the teacher about the photos, and draws their edges where a network does it."""
        refuse_no_photos(self.name, self.config.batch)
        device = str(model.recall.weight.device)
        self.drawings = Drawings.of(self.config.edges, data, device)
        self.preservation.prepare(data, device)
        self.instance = torch.from_numpy(data.manifest.instance)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        photo = batch.domain == Domain.PHOTO
        image = torch.cat([batch.image, self.drawings(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        code = model.coded(self.augment(image, domain), domain)
        watched = len(image) if photo.all() else len(photo)
        model.encoder.watch(code[:watched], domain[:watched])
        real, pseudo = code[: len(photo)][photo], code[len(photo) :]
        contrast = both_ways(real, pseudo, self.config.temperature, self.config.hardness)
        terms = {"contrast": self.config.contrast * contrast}
        terms |= self.preservation.terms(model.recall(torch.cat([real, pseudo])), batch.row[photo])
        if self.config.batch.pairs:
            sketch, own = self._pairs(batch)
            if len(sketch):
                pairs = both_ways(code[sketch], code[own], self.config.temperature, self.config.hardness)
                terms["pairs"] = self.config.contrast * pairs
        return terms

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Places in the batch of sketches, and of the photos they were drawn after; one sketch of each photo."""
        instance, photo = self.instance[batch.row.cpu()].to(batch.row.device), batch.domain == Domain.PHOTO
        same = (instance[:, None] == instance[None, :]) & ~photo[:, None] & photo[None, :]
        same &= (instance >= 0)[:, None]
        own = same.any(0).nonzero()[:, 0]
        return same[:, own].int().argmax(0), own
