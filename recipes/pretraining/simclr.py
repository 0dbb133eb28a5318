"""SimCLR: two random views of the same image agree, and disagree with every other image of the batch.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton: A Simple Framework for Contrastive Learning of Visual
Representations, ICML 2020.

Term
    contrast   normalised-temperature cross-entropy (lightly's NTXentLoss) over the views of the batch's
               photos and, separately, over the views of its sketches.

Departures: photos are compared with photos and sketches with sketches, since distinguishing a drawing from a photo
requires no understanding of either. With `pseudo_sketch_view` the second view of a photo is its pseudo-sketch, which
connects both domains. AdamW replaces LARS, which is made for batches of thousands; its rate is 1.2e-3 · b/256.

Run    ssl-sbir pretrain simclr --data folder:archive/ --out runs/archive
Cost   each image passes the encoder twice: about twice a supervised epoch of the same images.
Expect the loss to fall well below its chance value ln(2B - 1) within the first epoch.
"""

from collections.abc import Mapping

from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import ProjectionModel, mean_over_domains
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class SimclrConfig(TwoViewConfig):
    """Settings of SimCLR."""

    temperature: PositiveFloat = Field(0.1, description="of the softmax over similarities; published: 0.1")
    projection_dim: PositiveInt = Field(
        128, description="width of the projection that is compared; published: 128"
    )
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-4), description="")


@register_recipe("simclr")
class Simclr(TwoViewRecipe[SimclrConfig, ProjectionModel]):
    """Two views of the same image agree."""

    Config = SimclrConfig
    summary = "two views of the same image agree"
    paper = "Chen 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> ProjectionModel:
        assert not classes, "pretraining sees no labels"
        self.contrast = NTXentLoss(temperature=self.config.temperature)
        return ProjectionModel(
            encoder, SimCLRProjectionHead(encoder.width, encoder.width, self.config.projection_dim)
        )

    def loss(self, model: ProjectionModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        views = model(*first), model(*second)
        return {"contrast": mean_over_domains(lambda _, a, b: self.contrast(a, b), batch.domain, *views)}
