"""VICReg: two views are mapped to the same point, while features keep their variance and stay uncorrelated.

A. Bardes, J. Ponce, Y. LeCun: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning,
ICLR 2022.

Term
    vicreg   (lightly's VICRegLoss) the sum of
             invariance: mean squared distance between the views' projections, times `invariance`;
             variance: how far each projected feature's standard deviation over the batch is below 1, times
             `variance`; this prevents a collapse to one point;
             covariance: squared covariances between different features, times `covariance`.

Departures: variance and covariance are computed for photos and sketches separately. The variance term is the mean
over both views, as in the released code; in the paper it is their sum. The projection is 2,048 wide instead of 8,192.
AdamW replaces LARS; its rate is proportional to the batch size, like the published one.

Run    ssl-sbir pretrain vicreg --data folder:archive/ --out runs/archive
Cost   as SimCLR, plus a little for the wide projection.
Expect the loss to fall from about 25 (all of it variance) to between 10 and 15.
"""

from collections.abc import Mapping

from lightly.loss import VICRegLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import ProjectionModel, mean_over_domains
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class VicregConfig(TwoViewConfig):
    """Settings of VICReg."""

    invariance: NonNegativeFloat = Field(
        25.0, description="weight of the distance between views; published: 25"
    )
    variance: NonNegativeFloat = Field(25.0, description="weight of the missing variance; published: 25")
    covariance: NonNegativeFloat = Field(1.0, description="weight of the covariances; published: 1")
    projection_dim: PositiveInt = Field(
        2048, description="width of the projection's three layers; published: 8192"
    )
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-6), description="")


@register_recipe("vicreg")
class Vicreg(TwoViewRecipe[VicregConfig, ProjectionModel]):
    """Views at the same point; features that vary and are uncorrelated."""

    Config = VicregConfig
    summary = "two views at the same point, features that vary and are uncorrelated"
    paper = "Bardes 2022"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> ProjectionModel:
        assert not classes, "pretraining sees no labels"
        config, width = self.config, self.config.projection_dim
        self.vicreg = VICRegLoss(config.invariance, config.variance, config.covariance)
        return ProjectionModel(encoder, BarlowTwinsProjectionHead(encoder.width, width, width))

    def loss(self, model: ProjectionModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        views = model(*first), model(*second)
        return {"vicreg": mean_over_domains(lambda _, a, b: self.vicreg(a, b), batch.domain, *views)}
