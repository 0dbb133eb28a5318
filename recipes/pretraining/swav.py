"""SwAV: each view predicts the other view's assignment to prototypes, which uses all prototypes evenly.

M. Caron, I. Misra, J. Mairal, P. Goyal, P. Bojanowski, A. Joulin: Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments, NeurIPS 2020.

Term
    swapped   (lightly's SwaVLoss) cross-entropy of a view's softmax over prototypes with the other view's soft
              assignment, which three rounds of Sinkhorn-Knopp balance over the batch and, later in the run, over a
              queue of earlier images. With `n_local_crops` views, small crops predict the assignments too.

The prototypes are frozen for the first `freeze_prototypes` of the run; the queue is used from `queue_start` on, once
it is full.

Departures: photos and sketches are balanced separately, so each domain uses every prototype. Prototypes are unit
vectors by construction instead of by a step after each update. 300 of them instead of 3,000, for data of thousands of
images. Local views have the full size of the input, since a ViT takes no other; there are none by default (published:
6). AdamW replaces LARS. Queue and prototypes start after a fraction of the run; in the paper, after 15 of 200 epochs
and after 1.

Run    ssl-sbir pretrain swav --data folder:archive/ --out runs/archive
Cost   as SimCLR, and half of that again for every local view.
Expect the loss to fall from about ln(prototypes).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

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
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class SwavConfig(TwoViewConfig):
    """Settings of SwAV."""

    prototypes: PositiveInt = Field(300, description="how many prototypes; published: 3000, for ImageNet")
    freeze_prototypes: float = Field(
        0.02, ge=0, le=1, description="fraction of the run in which they are frozen; published: .005"
    )
    temperature: PositiveFloat = Field(0.1, description="temperature of a view's softmax; published: 0.1")
    sinkhorn_epsilon: PositiveFloat = Field(0.05, description="softness of the assignment; published: 0.05")
    queue_size: PositiveInt = Field(
        3840, description="images in a domain's queue, at most half of the domain's images"
    )
    queue_start: float = Field(0.1, ge=0, le=1, description="fraction of the run before the queue is used")
    projection_dim: PositiveInt = Field(128, description="width of the prototypes; published: 128")
    n_local_crops: NonNegativeInt = Field(
        0, description="further views of small parts of an image; published: 6"
    )
    optim: OptimConfig = Field(OptimConfig(lr=1.2e-3, lr_batch=256, weight_decay=1e-6), description="")


class _SwavModel(ProjectionModel):
    """A pair of queues for each domain, one a view, and whether each domain's were filled once."""

    queue_full: Tensor
    queues: nn.ModuleList

    def __init__(self, encoder: Encoder, width: int, prototypes: int) -> None:
        super().__init__(encoder, SwaVProjectionHead(encoder.width, encoder.width, width))
        self.prototypes = Prototypes(width, prototypes)

    def register_queues(self, lengths: Iterable[int], width: int) -> None:
        """Adds two queues of each of these lengths, filled with random vectors."""
        device = self.encoder.mean.device
        self.queues = nn.ModuleList(
            nn.ModuleList(
                register_bank_buffers(MemoryBankModule((length, width), feature_dim_first=False))
                for _ in range(2)
            )
            for length in lengths
        ).to(device)
        self.register_buffer("queue_full", torch.zeros(2, dtype=torch.bool, device=device))

    def enqueue_features(self, domain: int, features: Sequence[Tensor]) -> list[Tensor]:
        """Puts the features of both views into a domain's queues; returns the entries from before."""
        queues = list(cast("nn.ModuleList", self.queues[domain]))
        entries = [queue(view, update=True)[1] for queue, view in zip(queues, features, strict=True)]
        # Once the pointer is back at the start, no initial random vector is left.
        self.queue_full[domain] |= cast("MemoryBankModule", queues[0]).bank_ptr[0] == 0
        return entries


@register_recipe("swav")
class Swav(TwoViewRecipe[SwavConfig, _SwavModel]):
    """Views predict each other's prototypes."""

    Config = SwavConfig
    summary = "a view predicts the other's prototypes, which are used evenly"
    paper = "Caron 2020"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _SwavModel:
        assert not classes, "pretraining sees no labels"
        self.swav_loss = SwaVLoss(self.config.temperature, sinkhorn_epsilon=self.config.sinkhorn_epsilon)
        return _SwavModel(encoder, self.config.projection_dim, self.config.prototypes)

    def prepare(self, model: _SwavModel, data: TrainingSet) -> None:
        """Creates two queues for each domain, one for either view."""
        super().prepare(model, data)
        model.register_queues(
            queue_lengths(data, self.config.queue_size).values(), self.config.projection_dim
        )

    def loss(self, model: _SwavModel, batch: Batch) -> Mapping[str, Tensor]:
        model.prototypes.frozen = self.progress < self.config.freeze_prototypes
        views = [
            *self.sample_views(batch),
            *(self.sample_local_crop(batch) for _ in range(self.config.n_local_crops)),
        ]

        def swapped_loss(domain: int, *features: Tensor) -> Tensor:
            was_full = bool(model.queue_full[domain])
            earlier = [model.prototypes(entries) for entries in model.enqueue_features(domain, features[:2])]
            cosines = [model.prototypes(view) for view in features]
            used = earlier if was_full and self.progress >= self.config.queue_start else None
            return self.swav_loss(cosines[:2], cosines[2:], used)[0]

        return {"swapped": mean_over_domains(swapped_loss, batch.domain, *(model(*view) for view in views))}
