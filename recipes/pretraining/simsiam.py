"""SimSiam: a view predicts the other one's projection, which gets no gradient; no negatives, no second network.

X. Chen, K. He: Exploring Simple Siamese Representation Learning, CVPR 2021.

Term
    agree   minus the cosine (lightly's NegativeCosineSimilarity) between the prediction from one view and the
            projection of the other, which gets no gradient; both ways. Stopping this gradient prevents a collapse
            to one point (section 4.1).

Departures: the rate is the published one, .05 · b/256, but the prediction's rate falls with the others', which the
paper keeps constant. SGD has Nesterov momentum. Biases and norms have no weight decay, as in all recipes here; in the
paper (appendix A) they have.

Run    ssl-sbir pretrain simsiam --data folder:archive/ --out runs/archive
Cost   as SimCLR.
Expect the loss to fall from about 0 towards -1; a fall to -1 within a few steps is a collapse (see `monitor`).
"""

from collections.abc import Mapping

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from pydantic import Field, PositiveInt
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import PredictionModel, mean_prediction_loss
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class SimsiamConfig(TwoViewConfig):
    """Settings of SimSiam."""

    projection_dim: PositiveInt = Field(
        2048, description="width of the projection's three layers; published: 2048"
    )
    hidden_dim: PositiveInt = Field(512, description="width between the prediction's layers; published: 512")
    optim: OptimConfig = Field(
        OptimConfig(name="sgd", lr=0.05, lr_batch=256, weight_decay=1e-4), description=""
    )


@register_recipe("simsiam")
class Simsiam(TwoViewRecipe[SimsiamConfig, PredictionModel]):
    """A view predicts the other, which gets no gradient."""

    Config = SimsiamConfig
    summary = "a view predicts the other, which gets no gradient"
    paper = "Chen & He 2021"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> PredictionModel:
        assert not classes, "pretraining sees no labels"
        width = self.config.projection_dim
        self.agree = NegativeCosineSimilarity()
        return PredictionModel(
            encoder,
            SimSiamProjectionHead(encoder.width, width, width),
            SimSiamPredictionHead(width, self.config.hidden_dim, width),
        )

    def loss(self, model: PredictionModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = (model(*view) for view in self.sample_views(batch))
        predictions = model.prediction_head(first), model.prediction_head(second)
        return {"agree": mean_prediction_loss(self.agree, batch.domain, predictions, (second, first))}
