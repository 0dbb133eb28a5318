"""DCL: SimCLR without the positive pair among the negatives, so that small batches suffice.

C.-H. Yeh, C.-Y. Hong, Y.-C. Hsu, T.-L. Liu, Y. Chen, Y. LeCun: Decoupled Contrastive Learning, ECCV 2022.

Term
    contrast   equation 6 (lightly's DCLLoss): minus the similarity of an image's two views over the temperature,
               plus the logarithm of the summed exponentials over all views of other images. With `sigma` above 0
               equation 7 (DCLWLoss): positive pairs that are already similar weigh less.

Departures: photos are compared with photos and sketches with sketches. The projection head is SimCLR's, with the
batch norms of its released code. The rate is the published one, proportional to the batch size.

Run    ssl-sbir pretrain dcl --data folder:archive/ --out runs/archive
Cost   as SimCLR.
Expect the loss to fall from about ln(2B - 2) and below zero, since the positive pair isn't among its own competitors.
"""

from collections.abc import Mapping

from lightly.loss import DCLLoss, DCLWLoss
from lightly.models.modules import SimCLRProjectionHead
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import ProjectionModel, mean_over_domains
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class DclConfig(TwoViewConfig):
    """Settings of DCL."""

    temperature: PositiveFloat = Field(0.1, description="divides the similarities; published: 0.1")
    sigma: NonNegativeFloat = Field(
        0.0, description="of the weights of similar pairs (DCLW); published: 0.5; 0 = all pairs weigh 1"
    )
    projection_dim: PositiveInt = Field(
        128, description="width of the projection that is compared; published: 128"
    )
    optim: OptimConfig = Field(
        OptimConfig(name="sgd", lr=0.03, lr_batch=256, weight_decay=1e-4), description=""
    )


@register_recipe("dcl")
class Dcl(TwoViewRecipe[DclConfig, ProjectionModel]):
    """Two views of the same image agree, and only other images are negatives."""

    Config = DclConfig
    summary = "SimCLR whose positive pair is no negative: for small batches"
    paper = "Yeh 2022"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> ProjectionModel:
        assert not classes, "pretraining sees no labels"
        temperature, sigma = self.config.temperature, self.config.sigma
        self.contrast = DCLWLoss(temperature, sigma) if sigma else DCLLoss(temperature)
        return ProjectionModel(
            encoder, SimCLRProjectionHead(encoder.width, encoder.width, self.config.projection_dim)
        )

    def loss(self, model: ProjectionModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        views = model(*first), model(*second)
        return {"contrast": mean_over_domains(lambda _, a, b: self.contrast(a, b), batch.domain, *views)}
