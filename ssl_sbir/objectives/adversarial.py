"""Adversarial training that makes two domains' embeddings indistinguishable: a discriminator and a reversed gradient."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class _GradientReversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, embeddings: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return embeddings.view_as(embeddings)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradients[0], None


def reverse_gradient(embeddings: Float[Tensor, "b width"], strength: float) -> Float[Tensor, "b width"]:
    """The embeddings unchanged; the gradient through them is multiplied by −strength.

    Source: Y. Ganin, V. Lempitsky: Unsupervised Domain Adaptation by Backpropagation, ICML 2015.
    """
    return _GradientReversal.apply(embeddings, strength)


def domain_adversarial_loss(
    discriminator: nn.Module, embeddings: Float[Tensor, "b width"], domain: Int[Tensor, " b"], strength: float
) -> Float[Tensor, ""]:
    """The binary cross-entropy of a discriminator of the domains; the encoder learns to raise it.

    Args:
        discriminator: maps embeddings to logits [b, 1].
        embeddings: embeddings of both domains.
        domain: 0 sketch, 1 photo.
        strength: factor of the reversed gradient; with 0 the encoder gets none.
    """
    logits = discriminator(reverse_gradient(embeddings, strength))[:, 0]
    return F.binary_cross_entropy_with_logits(logits.float(), domain.float())
