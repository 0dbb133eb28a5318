"""Building blocks of methods that compare views of an image: projections, momentum encoder, prototypes, queues."""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from lightly.models.modules.memory_bank import MemoryBankModule
from lightly.models.utils import update_momentum
from lightly.utils import dist
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder


def mean_over_domains(
    loss: Callable[..., Tensor], domain: Int[Tensor, " b"], *views: Float[Tensor, "b _"]
) -> Float[Tensor, ""]:
    """The mean of a loss that is computed for each domain of the batch separately, over all processes' images.

    Photos are compared with photos and sketches with sketches: distinguishing one from the other requires no
    understanding of either. Every process computes the loss of the whole batch, in 32 bit; its gradients equal
    those of one process with that batch.

    Args:
        loss: called with a `Domain` and that domain's rows of each view.
        domain: domain of each row.
        views: features to compare, row by row.
    """
    with torch.autocast(domain.device.type, enabled=False):
        present = [(each, domain == each) for each in Domain if (domain == each).any()]
        losses = [
            loss(each, *(_gather_processes(view[rows].float()) for view in views)) for each, rows in present
        ]
        return torch.stack(losses).mean()


def mean_prediction_loss(
    loss: Callable[[Tensor, Tensor], Tensor],
    domain: Int[Tensor, " b"],
    predictions: tuple[Float[Tensor, "b width"], Float[Tensor, "b width"]],
    targets: tuple[Float[Tensor, "b width"], Float[Tensor, "b width"]],
) -> Float[Tensor, ""]:
    """The mean over both views of a loss between a view's prediction and its target (BYOL, SimSiam).

    Args:
        loss: called with the predictions and targets of one domain.
        domain: domain of each row.
        predictions: predictions from the first and from the second view.
        targets: projections of the second and of the first view, which get no gradient.
    """
    first, second = (
        mean_over_domains(lambda _, p, z: loss(p, z), domain, prediction, target.detach())
        for prediction, target in zip(predictions, targets, strict=True)
    )
    return (first + second) / 2


def _gather_processes(share: Float[Tensor, "b width"]) -> Float[Tensor, "all width"]:
    return torch.cat(dist.gather(share)) if dist.world_size() > 1 else share


class ProjectionModel(nn.Module):
    """An encoder and the projection in which its views are compared; a run exports only the encoder."""

    def __init__(self, encoder: Encoder, projection_head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection_head = encoder, projection_head

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Projections [b, width] of images [b, 3, h, w] in 0..1."""
        return self.projection_head(self.encoder(image, domain))


class PredictionModel(ProjectionModel):
    """A projection model with a head that predicts one view's projection from another's."""

    def __init__(self, encoder: Encoder, projection_head: nn.Module, prediction_head: nn.Module) -> None:
        super().__init__(encoder, projection_head)
        self.prediction_head = prediction_head


class MomentumEncoder(ProjectionModel):
    """A copy of a projection model whose weights are a moving average of the original's; gets no gradient.

    Like its original it is in training mode: its batch norms use the batch's statistics.
    """

    def __init__(self, model: ProjectionModel) -> None:
        super().__init__(copy.deepcopy(model.encoder), copy.deepcopy(model.projection_head))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Projections [b, width], without a gradient."""
        return super().forward(image, domain)

    def update(self, model: ProjectionModel, momentum: float) -> None:
        """Sets every weight to momentum · own + (1 − momentum) · the model's."""
        update_momentum(model.encoder, self.encoder, momentum)
        update_momentum(model.projection_head, self.projection_head, momentum)


class Prototypes(nn.Module):
    """Cosines of features with learnt directions.

    Attributes:
        frozen: while set, the directions don't change. They still get a gradient, of zeros: processes that
            share gradients wait for one.
    """

    frozen: bool

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, width)))
        self.weight.register_hook(lambda gradient: gradient * (not self.frozen))
        self.frozen = False

    def forward(self, features: Float[Tensor, "b width"]) -> Float[Tensor, "b count"]:
        """Cosine with every prototype, [b, count]."""
        return F.linear(F.normalize(features), F.normalize(self.weight))


def cosine_momentum(start: float, progress: float) -> float:
    """The momentum at some progress: from `start` at 0 to 1 at 1, along half a cosine (BYOL, DINO)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2


def register_bank_buffers(bank: MemoryBankModule) -> MemoryBankModule:
    """The same memory bank, with its entries registered as buffers that a checkpoint saves."""
    for name, entries in list(bank.named_buffers()):
        bank.register_buffer(name, entries)
    return bank


def queue_lengths(data: TrainingSet, requested: int) -> dict[Domain, int]:
    """The length of each domain's queue: as requested, but at most half of the domain's images.

    A longer queue would hold an image's own view of the previous epoch.
    """
    return {domain: max(min(requested, len(data.rows[domain]) // 2), 1) for domain in Domain}
