"""SimSiam: a view predicts the other one's projection, which is held still; no negatives, no second network.

X. Chen, K. He: Exploring Simple Siamese Representation Learning, CVPR 2021.

Term
    agree   minus the cosine (lightly's NegativeCosineSimilarity) between the prediction from one view and the
            projection of the other, through which no gradient flows; both ways. Holding it still is what keeps
            everything from collapsing to one point (section 4.1).

Departures: the rate is the published one in proportion to the batch, .05 · b/256, but the prediction's rate falls with
the others' where the paper holds it. SGD has Nesterov momentum. Biases and norms don't decay, as in all recipes here; in
the paper (appendix A) they do.

Run    ssl-sbir pretrain simsiam --data folder:archive/ --out runs/archive
Cost   SimCLR's.
Expect the loss to fall from about 0 towards -1; a fall to -1 within a few steps is a collapse (see `monitor`).
"""

from collections.abc import Mapping
from typing import Any

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import ProjectionModel, mean_over_domains
from ssl_sbir.training.recipe import OptimConfig, register_recipe
from ssl_sbir.training.two_views import TwoViewConfig, TwoViewRecipe


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
class Simsiam(TwoViewRecipe[SimsiamConfig]):
    """A view predicts the other, which is held still."""

    Config = SimsiamConfig
    summary = "a view predicts the other, which is held still"
    paper = "Chen & He 2021"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        width = self.config.projection_dim
        self.agree = NegativeCosineSimilarity()
        model = ProjectionModel(encoder, SimSiamProjectionHead(encoder.width, width, width))
        model.predict = SimSiamPredictionHead(width, self.config.hidden_dim, width)
        return model

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        first, second = (model(*view) for view in self.sample_views(batch))
        agree = self._prediction_loss(model, batch, first, second) + self._prediction_loss(
            model, batch, second, first
        )
        return {"agree": agree / 2}

    def _prediction_loss(self, model: Any, batch: Batch, view: Tensor, other: Tensor) -> Tensor:
        return mean_over_domains(
            lambda _, p, z: self.agree(p, z), batch.domain, model.predict(view), other.detach()
        )
