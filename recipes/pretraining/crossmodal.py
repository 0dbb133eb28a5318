"""Crossmodal: a photo finds its own drawing among all others, and the drawing its photo.

Ours; the loss is InfoNCE in both directions (van den Oord 2018, CLIP's form), the re-weighting of negatives that
of J. Robinson, C.-Y. Chuang, S. Sra, S. Jegelka: Contrastive Learning with Hard Negative Samples, ICLR 2021.

Terms
    contrast   a photo against its pseudo-sketch (edges by `edges`, bent, thickened and interrupted like lines of
               a hand), both ways, similar negatives weighing more by `hardness`. Of drawings with their own photo
               known (pairs.csv), the real drawing takes the pseudo-sketch's place where both are in the batch.
    pairs      with `batch.pairs`: the same between real sketches and the photos they were drawn after.
    preserve   the frozen teacher's distribution over ImageNet's classes for a photo, recalled from the photo and
               from its pseudo-sketch: what keeps the contrast from wearing the encoder's knowledge away.

Real sketches, where there are any, only move the normalisation and the domain's mean.

Run    ssl-sbir pretrain crossmodal --data folder:archive/ --out runs/archive
Cost   each photo passes the encoder twice, each sketch once.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment import AugmentConfig
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.edges.drawings import Detector, Drawings
from ssl_sbir.encoders import Centred, Encoder, load_encoder
from ssl_sbir.objectives.contrast import both_ways
from ssl_sbir.objectives.preservation import Answers, classifier_of, coded, factorised
from ssl_sbir.recipe import BatchConfig, OptimConfig, Recipe, RecipeConfig, register


class CrossmodalConfig(RecipeConfig):
    """Settings of crossmodal."""

    edges: Detector = Field("mixed", description="what draws a photo's pseudo-sketch; hed needs its package")
    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher is asked about, in pixels"
    )
    code: PositiveInt = Field(512, description="width of the embedding")
    temperature: PositiveFloat = Field(0.1, description="of the contrast's softmax")
    hardness: NonNegativeFloat = Field(
        0.0, description="how much more a similar negative weighs; 0 = all alike"
    )
    contrast: NonNegativeFloat = Field(1.0, description="weight of the contrast")
    preserve: NonNegativeFloat = Field(1.0, description="weight of what the teacher knows of photos")
    augment: AugmentConfig = Field(AugmentConfig(wobble=0.015, ink=0.5, gaps=0.5), description="")
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=16), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=6), description="")


class _Crossmodal(nn.Module):
    def __init__(self, encoder: Encoder, recall: nn.Linear) -> None:
        super().__init__()
        self.encoder = Centred(encoder)
        self.recall = recall


@register("crossmodal")
class Crossmodal(Recipe[CrossmodalConfig]):
    """A photo finds its own drawing."""

    Config = CrossmodalConfig
    stage = "pretraining"
    summary = "a photo finds its own pseudo-sketch, what ImageNet taught is kept"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.teacher = load_encoder(self.config.teacher, size=self.config.teacher_size)
        code, recall = factorised(classifier_of(self.teacher, self.config.teacher), self.config.code)
        return _Crossmodal(coded(encoder, code), recall)

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Asks the teacher about the photos, and draws their edges where a network does it."""
        device = str(model.recall.weight.device)
        self.answers = Answers.of(self.teacher.to(device), data)
        self.drawings = Drawings.of(self.config.edges, data, device)
        self.instance = torch.from_numpy(data.manifest.instance)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        photo = batch.domain == Domain.PHOTO
        image = torch.cat([batch.image, self.drawings(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        code = model.encoder.encoder(self.augment(image, domain), domain)
        model.encoder.watch(code[: len(photo)], batch.domain)
        real, pseudo = code[: len(photo)][photo], code[len(photo) :]
        taught = self.answers(batch.row[photo]).softmax(-1)
        recalled = model.recall(torch.cat([real, pseudo]))
        contrast = both_ways(real, pseudo, self.config.temperature, self.config.hardness)
        terms = {
            "contrast": self.config.contrast * contrast,
            "preserve": self.config.preserve * F.cross_entropy(recalled, taught.repeat(2, 1)),
        }
        if self.config.batch.pairs:
            sketch, own = self._pairs(batch)
            if len(sketch):
                pairs = both_ways(code[sketch], code[own], self.config.temperature, self.config.hardness)
                terms["pairs"] = self.config.contrast * pairs
        return terms

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Places in the batch of sketches, and of the photos they were drawn after."""
        instance, photo = self.instance[batch.row.cpu()].to(batch.row.device), batch.domain == Domain.PHOTO
        same = (instance[:, None] == instance[None, :]) & ~photo[:, None] & photo[None, :]
        sketch, own = (same & (instance >= 0)[:, None]).nonzero(as_tuple=True)
        return sketch, own
