"""MoCo v2: a view is matched with the other view of its image among a long queue of earlier images.

K. He, H. Fan, Y. Wu, S. Xie, R. Girshick: Momentum Contrast for Unsupervised Visual Representation Learning, CVPR
2020; X. Chen, H. Fan, R. Girshick, K. He: Improved Baselines with Momentum Contrastive Learning, 2020.

Term
    contrast   cross-entropy of the first view with its key, the second view's projection by a momentum encoder,
               against the keys in the queue (lightly's NTXentLoss with a memory bank), over a temperature.

After every step the momentum encoder is updated, and the batch's keys replace the oldest ones in the queue.

Departures: each domain has its own queue. A queue holds at most half of a domain's images; in the paper, a twentieth
of ImageNet. The momentum is .99, not .999, at which the copy would hardly move in a run of some hundred steps. Batch
norms are not shuffled between processes. The rate is the published one, .03 · b/256; SGD has Nesterov momentum, and
the rate falls along a cosine as in v2.

Run    ssl-sbir pretrain moco --data folder:archive/ --out runs/archive
Cost   two forward passes and one backward: two thirds of SimCLR.
Expect the loss to fall from about ln(1 + queue_size); in the first steps it is lower, while the queue still holds
       its initial random vectors.
"""

from collections.abc import Mapping

from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    MomentumEncoder,
    ProjectionModel,
    mean_over_domains,
    queue_lengths,
    register_bank_buffers,
)
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class MocoConfig(TwoViewConfig):
    """Settings of MoCo v2."""

    temperature: PositiveFloat = Field(0.2, description="divides the similarities; published: 0.2")
    momentum: float = Field(
        0.99,
        ge=0,
        le=1,
        description="momentum of the momentum encoder; published: 0.999 (200 epochs of ImageNet)",
    )
    queue_size: PositiveInt = Field(
        4096, description="keys in a domain's queue, at most half its images; published: 65536"
    )
    projection_dim: PositiveInt = Field(
        128, description="width of the projection that is compared; published: 128"
    )
    optim: OptimConfig = Field(
        OptimConfig(name="sgd", lr=0.03, lr_batch=256, weight_decay=1e-4), description=""
    )


class _MocoModel(ProjectionModel):
    contrast_losses: nn.ModuleList

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__(encoder, MoCoProjectionHead(encoder.width, encoder.width, width))
        self.momentum_encoder = MomentumEncoder(self)


@register_recipe("moco")
class Moco(TwoViewRecipe[MocoConfig, _MocoModel]):
    """A view is matched with the other one among a long queue."""

    Config = MocoConfig
    summary = "a view is matched with the other one among a long queue of earlier images"
    paper = "He 2020, Chen 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _MocoModel:
        assert not classes, "pretraining sees no labels"
        return _MocoModel(encoder, self.config.projection_dim)

    def prepare(self, model: _MocoModel, data: TrainingSet) -> None:
        """Creates a queue for each domain."""
        super().prepare(model, data)
        losses = [
            NTXentLoss(self.config.temperature, (length, self.config.projection_dim))
            for length in queue_lengths(data, self.config.queue_size).values()
        ]
        for loss in losses:
            register_bank_buffers(loss.memory_bank)
        model.contrast_losses = nn.ModuleList(losses).to(model.encoder.mean.device)

    def loss(self, model: _MocoModel, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        query, key = model(*first), model.momentum_encoder(*second)

        def queue_loss(domain: int, query: Tensor, key: Tensor) -> Tensor:
            return model.contrast_losses[domain](query, key)

        return {"contrast": mean_over_domains(queue_loss, batch.domain, query, key)}

    def after_step(self, model: _MocoModel, progress: float) -> None:  # noqa: ARG002
        model.momentum_encoder.update(model, self.config.momentum)
