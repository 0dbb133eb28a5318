"""What methods that compare views of an image share: a projected encoder, its slow twin, prototypes, queues."""

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
    """The mean over the batch's domains of a loss among a domain's images, those of all processes together.

    Photos and sketches are compared each among their own: telling one from the other needs no understanding
    of either. Every process computes the loss of the whole batch, in 32 bit; the gradients that come back are
    those of one process with that batch.

    Args:
        loss: called with a `Domain` and that domain's rows of each view.
        domain: of each row.
        views: what is compared, row by row.
    """
    with torch.autocast(domain.device.type, enabled=False):
        shares = [(of, domain == of) for of in Domain if (domain == of).any()]
        parts = [loss(of, *(_gather_processes(view[rows].float()) for view in views)) for of, rows in shares]
        return torch.stack(parts).mean()


def _gather_processes(share: Float[Tensor, "b width"]) -> Float[Tensor, "all width"]:
    return torch.cat(dist.gather(share)) if dist.world_size() > 1 else share


class ProjectionModel(nn.Module):
    """An encoder with the projection in which its views are compared; the run exports the encoder alone."""

    def __init__(self, encoder: Encoder, projection_head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection_head = encoder, projection_head

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Projections [b, width] of images [b, 3, h, w] in 0..1."""
        return self.projection_head(self.encoder(image, domain))


class MomentumEncoder(ProjectionModel):
    """A copy of a projected encoder that follows it slowly and gets no gradient.

    Like its original it is in training mode: its batch norms see the batch.
    """

    def __init__(self, model: ProjectionModel) -> None:
        super().__init__(copy.deepcopy(model.encoder), copy.deepcopy(model.projection_head))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Projections [b, width], without a gradient."""
        return super().forward(image, domain)

    def update(self, model: ProjectionModel, momentum: float) -> None:
        """Moves every weight towards the model's: momentum · own + (1 − momentum) · the model's."""
        update_momentum(model.encoder, self.encoder, momentum)
        update_momentum(model.projection_head, self.projection_head, momentum)


class Prototypes(nn.Module):
    """Cosines of features with directions that are learnt.

    Attributes:
        frozen: while it is set the directions stay where they are. They still get a gradient, of zeros: processes
            that share gradients wait for one.
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
    """A momentum's course: from `embedding_init` to 1 along half a cosine as `show_progress` goes from 0 to 1 (BYOL, DINO)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2


def register_bank_buffers(bank: MemoryBankModule) -> MemoryBankModule:
    """The same memory bank, its entries now part of what a checkpoint saves."""
    for name, entries in list(bank.named_buffers()):
        bank.register_buffer(name, entries)
    return bank


def queue_lengths(data: TrainingSet, requested: int) -> dict[Domain, int]:
    """How many entries the queue of each domain has: those asked for, but at most half of the domain's images.

    A longer one would hold what an image's own view left there an epoch ago.
    """
    return {of: max(min(requested, len(data.rows[of]) // 2), 1) for of in Domain}
