"""SwAV: each view predicts the prototypes that the other one was given, all prototypes being used evenly.

M. Caron, I. Misra, J. Mairal, P. Goyal, P. Bojanowski, A. Joulin: Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments, NeurIPS 2020.

Term
    swapped   (lightly's SwaVLoss) cross-entropy of a view's softmax over prototypes with the other view's soft
              assignment, which three rounds of Sinkhorn-Knopp share out evenly over the batch and, later in the run,
              over a queue of earlier images. With `n_local_crops` views, small crops predict the assignments too.

The prototypes stay as they are for the first `held` share of the run; the queue joins in after `queue_start`,
once it is full.

Departures: photos and sketches are shared out apart, so each kind uses every prototype. Prototypes are unit vectors by
their form instead of by a step after each update. 300 of them instead of 3,000, for data of thousands of images.
Local views have the full size of the input, since a ViT takes no other; there are none by default (published: 6).
AdamW takes the place of LARS. Queue and prototypes start by a share of the run, where the paper counts 15 epochs of
200 and 1.

Run    ssl-sbir pretrain swav --data folder:archive/ --out runs/archive
Cost   SimCLR's, and half of that for every local view.
Expect the loss to fall from about ln(prototypes).
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    ProjectionModel,
    Prototypes,
    mean_over_domains,
    queue_lengths,
    register_bank_buffers,
)
from ssl_sbir.training.recipe import OptimConfig, register_recipe
from ssl_sbir.training.two_views import TwoViewConfig, TwoViewRecipe


class SwavConfig(TwoViewConfig):
    """Settings of SwAV."""

    prototypes: PositiveInt = Field(300, description="how many prototypes; published: 3000, for ImageNet")
    freeze_prototypes: float = Field(
        0.02, ge=0, le=1, description="share of the run in which they stay; published: .005"
    )
    temperature: PositiveFloat = Field(0.1, description="of a view's softmax; published: 0.1")
    sinkhorn_epsilon: PositiveFloat = Field(0.05, description="softness of the assignment; published: 0.05")
    queue_size: PositiveInt = Field(3840, description="images in a domain's queue, at most half of its own")
    queue_start: float = Field(0.1, ge=0, le=1, description="share of the run before it is used")
    projection_dim: PositiveInt = Field(128, description="width of the prototypes; published: 128")
    n_local_crops: NonNegativeInt = Field(
        0, description="further views of small parts of an image; published: 6"
    )
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-6), description="")


@register_recipe("swav")
class Swav(TwoViewRecipe[SwavConfig]):
    """Views predict each other's prototypes."""

    Config = SwavConfig
    summary = "a view predicts the prototypes of the other, evenly used"
    paper = "Caron 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.swav_loss = SwaVLoss(self.config.temperature, sinkhorn_epsilon=self.config.sinkhorn_epsilon)
        model = ProjectionModel(
            encoder, SwaVProjectionHead(encoder.width, encoder.width, self.config.projection_dim)
        )
        model.prototypes = Prototypes(self.config.projection_dim, self.config.prototypes)
        return model

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Makes two queues for each domain, one for either view."""
        super().prepare(model, data)
        lengths = queue_lengths(data, self.config.queue_size).values()
        banks = [[(length, self.config.projection_dim)] * 2 for length in lengths]
        model.queues = nn.ModuleList(
            nn.ModuleList(
                register_bank_buffers(MemoryBankModule(size, feature_dim_first=False)) for size in pair
            )
            for pair in banks
        ).to(model.encoder.mean.device)
        model.register_buffer("full", torch.zeros(2, dtype=torch.bool, device=model.encoder.mean.device))

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        model.prototypes.held = self.progress < self.config.freeze_prototypes
        views = [
            *self.sample_views(batch),
            *(self.sample_local_crop(batch) for _ in range(self.config.n_local_crops)),
        ]

        def swapped_loss(of: int, *features: Tensor) -> Tensor:
            was_full = bool(model.full[of])
            earlier = [
                model.prototypes(queue(feature, update=True)[1])
                for queue, feature in zip(model.queues[of], features, strict=False)
            ]
            cosines = [model.prototypes(feature) for feature in features]
            model.full[of] |= model.queues[of][0].bank_ptr[0] == 0  # round once: nothing of its start is left
            used = earlier if was_full and self.progress >= self.config.queue_start else None
            return self.swav_loss(cosines[:2], cosines[2:], used)[0]

        return {"swapped": mean_over_domains(swapped_loss, batch.domain, *(model(*view) for view in views))}
