"""A classifier in two layers, of which the first is an embedding."""

import torch
from torch import nn

from ssl_sbir.errors import ConfigError


def svd_factorize(classifier: nn.Linear, width: int) -> tuple[nn.Linear, nn.Linear]:
    """A classifier factorised into two linear layers, its best approximation of rank `width`.

    With W = U S V^T the first layer is S_d V_d^T (no bias), the second U_d with the classifier's bias
    (as in SAKE's released code: the embedding starts in the directions that ImageNet's classes use).

    Args:
        classifier: in → classes.
        width: rank d, at most the smaller of both.

    Returns:
        (in → d, d → classes).

    Raises:
        ConfigError: the width exceeds the classifier's rank.
    """
    weight = classifier.weight.detach()
    if width > min(weight.shape):
        raise ConfigError(
            f"embedding_dim = {width} exceeds {min(weight.shape)}, the teacher's rank", "Lower it."
        )
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    first = nn.Linear(weight.shape[1], width, bias=False)
    second = nn.Linear(width, weight.shape[0])
    with torch.no_grad():
        first.weight.copy_(s[:width, None] * vt[:width])
        second.weight.copy_(u[:, :width])
        second.bias.copy_(classifier.bias)
    return first, second
