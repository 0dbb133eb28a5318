"""VICReg: two views are mapped to the same point, while features keep varying and vary apart.

A. Bardes, J. Ponce, Y. LeCun: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning,
ICLR 2022.

Term
    vicreg   (lightly's VICRegLoss) the sum of
             invariance: mean squared distance between the views' projections, times `invariance`;
             variance: how far each projected feature's standard deviation over the batch is below 1, times
             `variance`, which is what keeps everything from collapsing to a point;
             covariance: squared covariances between different features, times `covariance`.

Departures: variance and covariance are taken over photos and over sketches apart. The variance term is the mean of
both views' as in the released code, where the paper's is their sum. The projection is 2,048 wide instead of 8,192.
AdamW takes the place of LARS, at a rate in proportion to the batch like the published one.

Run    ssl-sbir pretrain vicreg --data folder:archive/ --out runs/archive
Cost   SimCLR's and a little more for the wide projection.
Expect the loss to fall from about 25 (all of it variance) to some 10 to 15.
"""

from collections.abc import Mapping
from typing import Any

from lightly.loss import VICRegLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import ProjectionModel, mean_over_domains
from ssl_sbir.training.recipe import OptimConfig, register_recipe
from ssl_sbir.training.two_views import TwoViewConfig, TwoViewRecipe


class VicregConfig(TwoViewConfig):
    """Settings of VICReg."""

    invariance: NonNegativeFloat = Field(25.0, description="weight of the distance; published: 25")
    variance: NonNegativeFloat = Field(25.0, description="weight of the missing variance; published: 25")
    covariance: NonNegativeFloat = Field(1.0, description="weight of the covariances; published: 1")
    projection_dim: PositiveInt = Field(
        2048, description="width of the projection's three layers; published: 8192"
    )
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-6), description="")


@register_recipe("vicreg")
class Vicreg(TwoViewRecipe[VicregConfig]):
    """Views at one point, features that vary and vary apart."""

    Config = VicregConfig
    summary = "two views at one point, features that vary and vary apart"
    paper = "Bardes 2022"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        config, width = self.config, self.config.projection_dim
        self.vicreg = VICRegLoss(config.invariance, config.variance, config.covariance)
        return ProjectionModel(encoder, BarlowTwinsProjectionHead(encoder.width, width, width))

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        views = model(*first), model(*second)
        return {"vicreg": mean_over_domains(lambda _, a, b: self.vicreg(a, b), batch.domain, *views)}
