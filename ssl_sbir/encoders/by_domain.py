"""Each domain of a batch by its own way."""

from collections.abc import Callable

import torch
from torch import Tensor

DomainFunction = Callable[[Tensor, Tensor], Tensor]


def apply_by_domain(image: Tensor, domain: Tensor, sketch: DomainFunction, photo: DomainFunction) -> Tensor:
    """What two functions of images and domains make of their domain's share of a batch, in the batch's order.

    A function whose domain isn't there is not called: batch norm refuses an empty share.

    Args:
        image: [b, 3, h, w].
        domain: [b].
        sketch: takes the sketches (domain 0).
        photo: takes the rest.
    """
    rows = ((domain == 0).nonzero()[:, 0], (domain != 0).nonzero()[:, 0])
    found = [
        way(image[part], domain[part]) for way, part in zip((sketch, photo), rows, strict=True) if len(part)
    ]
    return torch.cat(found)[torch.cat(rows).argsort()]
