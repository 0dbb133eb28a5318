"""Each domain of a batch through a function of its own."""

from collections.abc import Callable

import torch
from torch import Tensor

DomainFunction = Callable[[Tensor, Tensor], Tensor]


def apply_by_domain(image: Tensor, domain: Tensor, sketch: DomainFunction, photo: DomainFunction) -> Tensor:
    """The results of two functions, each applied to the images of its domain, in the batch's order.

    A function without images is not called: batch norm refuses an empty batch.

    Args:
        image: [b, 3, h, w].
        domain: [b].
        sketch: takes the sketches (domain 0).
        photo: takes the rest.
    """
    rows = ((domain == 0).nonzero()[:, 0], (domain != 0).nonzero()[:, 0])
    results = [
        function(image[part], domain[part])
        for function, part in zip((sketch, photo), rows, strict=True)
        if len(part)
    ]
    return torch.cat(results)[torch.cat(rows).argsort()]
