"""Making codes of two domains indistinguishable: a discriminator, and a gradient that runs against it."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, code: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return code.view_as(code)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradients[0], None


def reverse_gradient(embeddings: Float[Tensor, "b width"], strength: float) -> Float[Tensor, "b width"]:
    """The codes unchanged; what flows back through them is multiplied by −strength.

    Source: Y. Ganin, V. Lempitsky: Unsupervised Domain Adaptation by Backpropagation, ICML 2015.
    """
    return _GradientReversal.apply(embeddings, strength)


def domain_adversarial_loss(
    discriminator: nn.Module, embeddings: Float[Tensor, "b width"], domain: Int[Tensor, " b"], strength: float
) -> Float[Tensor, ""]:
    """How badly a discriminator tells the domains apart (binary cross-entropy); the encoder learns to raise it.

    Args:
        discriminator: codes to logits [b, 1].
        embeddings: of both domains.
        domain: 0 sketch, 1 photo.
        strength: of the reversed gradient; 0 leaves the encoder alone.
    """
    logits = discriminator(reverse_gradient(embeddings, strength))[:, 0]
    return F.binary_cross_entropy_with_logits(logits.float(), domain.float())
