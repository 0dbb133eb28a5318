"""NNCLR: SimCLR whose positive is not the other view but that view's nearest neighbour among earlier images.

D. Dwibedi, Y. Aytar, J. Tompson, P. Sermanet, A. Zisserman: With a Little Help from My Friends, ICCV 2021.

Term
    contrast   normalised-temperature cross-entropy (lightly's NTXentLoss) between the prediction from one view and
               the nearest neighbour, in a queue of earlier projections, of the other view's projection; both ways.

Departures: each domain has its own queue, of at most half of its images. lightly's loss also counts the similarities
within each side as negatives; the paper has only those across. Projection and prediction have hidden layers as wide
as the encoder's features (published: 2,048 and 4,096). AdamW replaces LARS; its rate is proportional to the batch
size, like the published one.

Run    ssl-sbir pretrain nnclr --data folder:archive/ --out runs/archive
Cost   as SimCLR.
Expect the loss to stay near chance until the queue, which starts with random vectors, is full of images.
"""

from collections.abc import Mapping

from lightly.loss import NTXentLoss
from lightly.models.modules import NNCLRPredictionHead, NNCLRProjectionHead, NNMemoryBankModule
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    PredictionModel,
    mean_over_domains,
    queue_lengths,
    register_bank_buffers,
)
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class NnclrConfig(TwoViewConfig):
    """Settings of NNCLR."""

    temperature: PositiveFloat = Field(0.1, description="divides the similarities; published: 0.1")
    queue_size: PositiveInt = Field(
        4096, description="projections in a domain's queue, at most half its images; published: 98304"
    )
    projection_dim: PositiveInt = Field(256, description="width of projection and prediction; published: 256")
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-6), description="")


class _NnclrModel(PredictionModel):
    queues: nn.ModuleList


@register_recipe("nnclr")
class Nnclr(TwoViewRecipe[NnclrConfig, _NnclrModel]):
    """A view predicts the nearest neighbour of the other."""

    Config = NnclrConfig
    summary = "a view predicts the nearest neighbour of the other among earlier images"
    paper = "Dwibedi 2021"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _NnclrModel:
        assert not classes, "pretraining sees no labels"
        self.contrast = NTXentLoss(self.config.temperature)
        width = self.config.projection_dim
        return _NnclrModel(
            encoder,
            NNCLRProjectionHead(encoder.width, encoder.width, width),
            NNCLRPredictionHead(width, encoder.width, width),
        )

    def prepare(self, model: _NnclrModel, data: TrainingSet) -> None:
        """Creates a queue for each domain."""
        super().prepare(model, data)
        model.queues = nn.ModuleList(
            register_bank_buffers(NNMemoryBankModule((length, self.config.projection_dim)))
            for length in queue_lengths(data, self.config.queue_size).values()
        ).to(model.encoder.mean.device)

    def loss(self, model: _NnclrModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = (model(*view) for view in self.sample_views(batch))

        def neighbor_loss(domain: int, z0: Tensor, z1: Tensor, p0: Tensor, p1: Tensor) -> Tensor:
            near0 = model.queues[domain](z0.detach(), update=False)
            near1 = model.queues[domain](z1.detach(), update=True)
            return (self.contrast(near0, p1) + self.contrast(near1, p0)) / 2

        predictions = model.prediction_head(first), model.prediction_head(second)
        return {"contrast": mean_over_domains(neighbor_loss, batch.domain, first, second, *predictions)}
