"""BYOL: a view predicts the projection of the other view by a momentum encoder; no negatives.

J.-B. Grill et al.: Bootstrap Your Own Latent, NeurIPS 2020.

Term
    agree   minus the cosine (lightly's NegativeCosineSimilarity) between the prediction from one view and the
            momentum encoder's projection of the other; both ways. The paper's equation 2 is the squared distance of
            the unit vectors, 2 + 2 times this.

After every step the momentum encoder's weights become m · own + (1 − m) · the network's. m rises from `momentum` to 1
along a half cosine over the run.

Departures: m starts at .99, which the paper uses for its runs of 300 epochs (.996 for 1,000): in a shorter run a
slower copy would hardly move. AdamW replaces LARS; its rate is proportional to the batch size, like the published one.
The prediction's and projection's hidden layers are 1,024 wide instead of 4,096.

Run    ssl-sbir pretrain byol --data folder:archive/ --out runs/archive
Cost   four forward passes and two backward: about 1.4 times SimCLR.
Expect the loss to fall from about 0 towards -1.
"""

from collections.abc import Mapping

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from pydantic import Field, PositiveInt
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    MomentumEncoder,
    PredictionModel,
    cosine_momentum,
    mean_prediction_loss,
)
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class ByolConfig(TwoViewConfig):
    """Settings of BYOL."""

    momentum: float = Field(
        0.99,
        ge=0,
        le=1,
        description="initial momentum of the momentum encoder; published: .996 (1,000 epochs)",
    )
    projection_dim: PositiveInt = Field(256, description="width of projection and prediction; published: 256")
    hidden_dim: PositiveInt = Field(1024, description="width of their hidden layers; published: 4096")
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1.5e-6), description="")


class _ByolModel(PredictionModel):
    def __init__(self, encoder: Encoder, hidden: int, width: int) -> None:
        super().__init__(
            encoder,
            BYOLProjectionHead(encoder.width, hidden, width),
            BYOLPredictionHead(width, hidden, width),
        )
        self.momentum_encoder = MomentumEncoder(self)


@register_recipe("byol")
class Byol(TwoViewRecipe[ByolConfig, _ByolModel]):
    """A view predicts the momentum encoder's projection of the other."""

    Config = ByolConfig
    summary = "a view predicts a momentum encoder's projection of the other"
    paper = "Grill 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _ByolModel:
        assert not classes, "pretraining sees no labels"
        self.agree = NegativeCosineSimilarity()
        return _ByolModel(encoder, self.config.hidden_dim, self.config.projection_dim)

    def loss(self, model: _ByolModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        first_prediction, second_target = (
            model.prediction_head(model(*first)),
            model.momentum_encoder(*second),
        )
        second_prediction, first_target = (
            model.prediction_head(model(*second)),
            model.momentum_encoder(*first),
        )
        predictions, targets = (first_prediction, second_prediction), (second_target, first_target)
        return {"agree": mean_prediction_loss(self.agree, batch.domain, predictions, targets)}

    def after_step(self, model: _ByolModel, progress: float) -> None:
        model.momentum_encoder.update(model, cosine_momentum(self.config.momentum, progress))
