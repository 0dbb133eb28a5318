"""Random changes of a sketch's lines: elastic deformation, stroke width, and gaps."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Ink = Float[Tensor, "b c h w"]


def deform_strokes(ink: Ink, strength: float, knots: int = 6) -> Ink:
    """Each sketch deformed by its own smooth random field of shifts.

    Args:
        ink: lines near 1 on 0, [b, c, h, w].
        strength: standard deviation of the shifts, as a fraction of the side.
        knots: random shifts along each side; fewer make longer bends.
    """
    b, _, h, w = ink.shape
    shifts = torch.randn(b, 2, knots, knots, device=ink.device) * 2 * strength
    field = F.interpolate(shifts, size=(h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    identity = torch.eye(2, 3, device=ink.device).expand(b, 2, 3)
    grid = F.affine_grid(identity, [b, 1, h, w], align_corners=False)
    return F.grid_sample(ink, grid + field, padding_mode="zeros", align_corners=False)


def vary_stroke_width(ink: Ink, chance: float) -> Ink:
    """Sketches with lines about a pixel wider or thinner, by a random amount each.

    Args:
        ink: lines near 1 on 0.
        chance: probability that a sketch is changed; half of those become wider.
    """
    wide = F.max_pool2d(ink, 3, stride=1, padding=1)
    # Lines of one pixel would vanish if they became thinner.
    thin = torch.maximum(-F.max_pool2d(-ink, 3, stride=1, padding=1), 0.5 * ink)
    draw = torch.rand(3, len(ink), 1, 1, 1, device=ink.device)
    other = torch.where(draw[0] < 0.5, wide, thin)
    return torch.where(draw[1] < chance, torch.lerp(ink, other, draw[2]), ink)


def cut_stroke_gaps(ink: Ink, chance: float, knots: int = 8) -> Ink:
    """Sketches with parts of their lines left out, where a smooth random field is low.

    Args:
        ink: lines near 1 on 0.
        chance: probability that a sketch gets gaps; they cover up to a quarter of its area.
        knots: random values of the field along each side.
    """
    b, _, h, w = ink.shape
    field = F.interpolate(torch.rand(b, 1, knots, knots, device=ink.device), size=(h, w), mode="bilinear")
    share = 0.25 * torch.rand(b, device=ink.device)
    share = share * (torch.rand(b, device=ink.device) < chance)
    lowest = torch.sort(field.flatten(1), dim=1).values
    bound = lowest.gather(1, (share * (lowest.shape[1] - 1)).long()[:, None])
    return ink * (field >= bound[:, :, None, None])
