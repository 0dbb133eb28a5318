"""Drawings scaled to the size that the fit `ink` gives a sketch, in batches."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.decode_image import INK_SIDE

STRAY_INK_FRACTION = 0.02  # of the ink is ignored on each side: stray edges of the background
MIN_INK_EXTENT = 0.3  # of the side; smaller drawings aren't enlarged further


def normalize_ink_framing(ink: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b 1 s s"]:
    """Each drawing moved and scaled so that its longer side fills INK_SIDE of the square; blank ones stay blank.

    Args:
        ink: 1 = line, 0 = paper.
    """
    side = ink.shape[-1]
    top, bottom = _ink_extent(ink[:, 0].sum(2))
    left, right = _ink_extent(ink[:, 0].sum(1))
    zoom = torch.maximum(bottom - top, right - left).clamp(min=MIN_INK_EXTENT * side) / INK_SIDE / side
    theta = torch.zeros(len(ink), 2, 3, device=ink.device)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, 0, 2] = (left + right) / side - 1
    theta[:, 1, 2] = (top + bottom) / side - 1
    grid = F.affine_grid(theta, list(ink.shape), align_corners=False)
    return F.grid_sample(ink, grid, padding_mode="zeros", align_corners=False)


def _ink_extent(mass: Float[Tensor, "b s"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Where the ink begins and ends along an axis, in pixels."""
    before = mass.cumsum(1) / mass.sum(1, keepdim=True).clamp(min=1e-6)
    return (before < STRAY_INK_FRACTION).sum(1).float(), (before < 1 - STRAY_INK_FRACTION).sum(1).float() + 1
