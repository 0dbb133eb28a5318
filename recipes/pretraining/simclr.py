"""SimCLR: two random views of the same image agree, and disagree with every other image of the batch.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton: A Simple Framework for Contrastive Learning of Visual
Representations, ICML 2020.

Term
    contrast   normalised-temperature cross-entropy (lightly's NTXentLoss) over the views of the batch's
               photos and, apart from them, over the views of its sketches.

Departures: photos and sketches are contrasted each among their own, since telling a drawing from a photo
needs no understanding of either. With `own_sketch` the second view of a photo is its pseudo-sketch, which
ties both domains together.

Run    ssl-sbir pretrain simclr --data folder:archive/ --out runs/archive
Cost   each image passes the encoder twice: about twice a supervised epoch of the same images.
Expect the loss to fall well below its chance value ln(2B - 1) within the first epoch.
"""

from collections.abc import Mapping
from typing import Any

from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment import AugmentConfig, pseudo_sketch
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import Encoder
from ssl_sbir.recipe import OptimConfig, Recipe, RecipeConfig, register


class SimclrConfig(RecipeConfig):
    """Settings of SimCLR."""

    temperature: PositiveFloat = Field(0.1, description="of the softmax over similarities; published: 0.1")
    projection: PositiveInt = Field(128, description="width of the space of the contrast; published: 128")
    own_sketch: bool = Field(False, description="contrast a photo with its own pseudo-sketch")
    augment: AugmentConfig = Field(
        AugmentConfig(crop=0.3, colour=0.8, grey=0.2, blur=0.3, perspective=0.2, rotation=15), description=""
    )
    optim: OptimConfig = Field(OptimConfig(lr=3e-4, weight_decay=1e-4), description="")


class _Contrast(nn.Module):
    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = SimCLRProjectionHead(encoder.width, encoder.width, width)

    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        return self.project(self.encoder(image, domain))


@register("simclr")
class Simclr(Recipe[SimclrConfig]):
    """Two views of the same image agree."""

    Config = SimclrConfig
    stage = "pretraining"
    summary = "two views of the same image agree"
    paper = "Chen 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.contrast = NTXentLoss(temperature=self.config.temperature)
        return _Contrast(encoder, self.config.projection)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        first = model(self.augment(batch.image, batch.domain), batch.domain)
        second = model(*self._second_view(batch))
        sketch = batch.domain == Domain.SKETCH
        parts = [self.contrast(first[of], second[of]) for of in (sketch, ~sketch) if of.sum() > 1]
        return {"contrast": sum(parts) / max(len(parts), 1)}

    def _second_view(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if not self.config.own_sketch:
            return self.augment(batch.image, batch.domain), batch.domain
        photo = batch.domain == Domain.PHOTO
        image = batch.image.clone()
        image[photo] = pseudo_sketch(batch.image[photo])
        drawn = batch.domain.masked_fill(photo, int(Domain.SKETCH))
        return self.augment(image, drawn), drawn
