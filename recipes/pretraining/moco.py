"""MoCo v2: a view finds the other view of its image among a long queue of earlier images.

K. He, H. Fan, Y. Wu, S. Xie, R. Girshick: Momentum Contrast for Unsupervised Visual Representation Learning, CVPR
2020; X. Chen, H. Fan, R. Girshick, K. He: Improved Baselines with Momentum Contrastive Learning, 2020.

Term
    contrast   cross-entropy of the first view with its key, which a slow copy of the network makes of the second
               view, against the keys in the queue (lightly's NTXentLoss with a memory bank), over a temperature.

After every step the copy moves towards the network, and the batch's keys take the place of the oldest in the queue.

Departures: each domain has a queue of its own. A queue holds at most half of a domain's images, where ImageNet's holds
a twentieth. The copy follows with m = .99, not .999, which a run of some hundred steps would never notice. Batch norms
are not shuffled between processes. The rate is the published one in proportion to the batch, .03 · b/256; SGD has
Nesterov momentum, and the rate falls along a cosine as in v2.

Run    ssl-sbir pretrain moco --data folder:archive/ --out runs/archive
Cost   two forward passes and one backward: two thirds of SimCLR.
Expect the loss to fall from about ln(1 + queue); in the first steps it is lower, as long as the queue holds the random
       vectors that it starts with.
"""

from collections.abc import Mapping
from typing import Any

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
from ssl_sbir.training.recipe import OptimConfig, register_recipe
from ssl_sbir.training.two_views import TwoViewConfig, TwoViewRecipe


class MocoConfig(TwoViewConfig):
    """Settings of MoCo v2."""

    temperature: PositiveFloat = Field(0.2, description="divides the similarities; published: 0.2")
    momentum: float = Field(
        0.99, ge=0, le=1, description="how slowly the copy follows; published: 0.999 (200 epochs of ImageNet)"
    )
    queue_size: PositiveInt = Field(
        4096, description="keys in a domain's queue, at most half its images; published: 65536"
    )
    projection_dim: PositiveInt = Field(128, description="width of the space of the contrast; published: 128")
    optim: OptimConfig = Field(
        OptimConfig(name="sgd", lr=0.03, lr_batch=256, weight_decay=1e-4), description=""
    )


@register_recipe("moco")
class Moco(TwoViewRecipe[MocoConfig]):
    """A view finds the other one among a long queue."""

    Config = MocoConfig
    summary = "a view finds the other one among a long queue of earlier images"
    paper = "He 2020, Chen 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        width = encoder.width
        model = ProjectionModel(encoder, MoCoProjectionHead(width, width, self.config.projection_dim))
        model.twin = MomentumEncoder(model)
        return model

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Makes a queue for each domain."""
        super().prepare(model, data)
        model.contrast = nn.ModuleList(
            NTXentLoss(self.config.temperature, (length, self.config.projection_dim))
            for length in queue_lengths(data, self.config.queue_size).values()
        ).to(model.encoder.mean.device)
        for contrast in model.contrast:
            register_bank_buffers(contrast.memory_bank)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        first, second = self.sample_views(batch)
        query, key = model(*first), model.twin(*second)
        return {
            "contrast": mean_over_domains(lambda of, q, k: model.contrast[of](q, k), batch.domain, query, key)
        }

    def after_step(self, model: Any, progress: float) -> None:  # noqa: ARG002
        model.twin.follow(model, self.config.momentum)
