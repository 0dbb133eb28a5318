"""Barlow Twins: every feature agrees between both views, and no two features are correlated.

J. Zbontar, L. Jing, I. Misra, Y. LeCun, S. Deny: Barlow Twins: Self-Supervised Learning via Redundancy Reduction,
ICML 2021.

Term
    twins   (lightly's BarlowTwinsLoss) computed from the correlations, over the batch, of each projected feature in
            one view with each in the other: the squared distance of the diagonal from 1, plus `redundancy` times
            the squares of all other entries; divided by the number of features, so that it doesn't grow with the
            projection.

Departures: correlations are computed for photos and sketches separately. The projection is 2,048 wide instead of
8,192, whose 140 million weights cost more than the encoder; the division by its width makes up for the scale of
0.024 in the released code. AdamW replaces LARS. Processes pool their features before they are standardised, as the
released code does with synchronised norms; lightly pools only the correlations.

Run    ssl-sbir pretrain barlow --data folder:archive/ --out runs/archive
Cost   as SimCLR, plus a little for the wide projection. Small batches make correlations noisy: 64 images of a
       domain or more are better than 32.
Expect the loss to fall from about 1.
"""

from collections.abc import Mapping

from lightly.loss import BarlowTwinsLoss
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


class BarlowConfig(TwoViewConfig):
    """Settings of Barlow Twins."""

    redundancy: NonNegativeFloat = Field(
        0.005, description="weight of the correlations between different features; published: 0.005"
    )
    projection_dim: PositiveInt = Field(
        2048, description="width of the projection's three layers; published: 8192"
    )
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-6), description="")


@register_recipe("barlow")
class Barlow(TwoViewRecipe[BarlowConfig, ProjectionModel]):
    """Features that agree between views and are uncorrelated."""

    Config = BarlowConfig
    summary = "features agree between two views and are uncorrelated"
    paper = "Zbontar 2021"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> ProjectionModel:
        assert not classes, "pretraining sees no labels"
        width = self.config.projection_dim
        self.twins = BarlowTwinsLoss(lambda_param=self.config.redundancy)
        return ProjectionModel(encoder, BarlowTwinsProjectionHead(encoder.width, width, width))

    def loss(self, model: ProjectionModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        views = model(*first), model(*second)
        twins = mean_over_domains(lambda _, a, b: self.twins(a, b), batch.domain, *views)
        return {"twins": twins / self.config.projection_dim}
