"""BYOL: a view predicts what a slow copy of the network makes of the other view; no negatives.

J.-B. Grill et al.: Bootstrap Your Own Latent, NeurIPS 2020.

Term
    agree   minus the cosine (lightly's NegativeCosineSimilarity) between the prediction from one view and the slow
            copy's projection of the other; both ways. The paper's equation 2 is the squared distance of the unit
            vectors, 2 + 2 times this.

After every step the copy moves towards the network: own · m + (1 − m) · the network's. m rises from `momentum` to 1
along a half cosine over the run.

Departures: the copy starts with m = .99, which the paper takes for its runs of 300 epochs (.996 for 1,000): shorter
runs need a copy that gets anywhere. AdamW takes the place of LARS, at a rate in proportion to the batch like the
published one. The prediction's and projection's hidden layers are 1,024 wide instead of 4,096.

Run    ssl-sbir pretrain byol --data folder:archive/ --out runs/archive
Cost   four forward passes and two backward: about 1.4 times SimCLR.
Expect the loss to fall from about 0 towards -1.
"""

from collections.abc import Mapping
from typing import Any

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    MomentumEncoder,
    ProjectionModel,
    cosine_momentum,
    mean_over_domains,
)
from ssl_sbir.training.recipe import OptimConfig, register_recipe
from ssl_sbir.training.two_views import DomainView, TwoViewConfig, TwoViewRecipe


class ByolConfig(TwoViewConfig):
    """Settings of BYOL."""

    momentum: float = Field(
        0.99, ge=0, le=1, description="how slowly the copy follows at first; published: .996 (1,000 epochs)"
    )
    projection_dim: PositiveInt = Field(256, description="width of projection and prediction; published: 256")
    hidden_dim: PositiveInt = Field(1024, description="width of their hidden layers; published: 4096")
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1.5e-6), description="")


@register_recipe("byol")
class Byol(TwoViewRecipe[ByolConfig]):
    """A view predicts what a slow copy makes of the other."""

    Config = ByolConfig
    summary = "a view predicts what a slow copy of the network makes of the other"
    paper = "Grill 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        width, hidden = self.config.projection_dim, self.config.hidden_dim
        self.agree = NegativeCosineSimilarity()
        model = ProjectionModel(encoder, BYOLProjectionHead(encoder.width, hidden, width))
        model.predict = BYOLPredictionHead(width, hidden, width)
        model.twin = MomentumEncoder(model)
        return model

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        agree = self._prediction_loss(model, batch, first, second) + self._prediction_loss(
            model, batch, second, first
        )
        return {"agree": agree / 2}

    def _prediction_loss(self, model: Any, batch: Batch, view: DomainView, other: DomainView) -> Tensor:
        seen, target = model.predict(model(*view)), model.twin(*other)
        return mean_over_domains(lambda _, p, z: self.agree(p, z), batch.domain, seen, target)

    def after_step(self, model: Any, progress: float) -> None:
        model.twin.follow(model, cosine_momentum(self.config.momentum, progress))
