"""What hands do to lines: they wobble, press harder or softer, and leave parts out."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Ink = Float[Tensor, "b c h w"]


def deform_strokes(ink: Ink, strength: float, knots: int = 6) -> Ink:
    """Each drawing bent by its own smooth field of shifts, as if another hand had drawn it.

    Args:
        ink: lines near 1 on 0, [b, c, h, w].
        strength: standard deviation of the shifts, as a share of the side.
        knots: shifts along each side; few make slow bends.
    """
    b, _, h, w = ink.shape
    shifts = torch.randn(b, 2, knots, knots, device=ink.device) * 2 * strength
    field = F.interpolate(shifts, size=(h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    still = torch.eye(2, 3, device=ink.device).expand(b, 2, 3)
    grid = F.affine_grid(still, [b, 1, h, w], align_corners=False)
    return F.grid_sample(ink, grid + field, padding_mode="zeros", align_corners=False)


def vary_stroke_width(ink: Ink, chance: float) -> Ink:
    """Some drawings with lines a pixel or so wider, some with thinner ones, by a random amount each.

    Args:
        ink: lines near 1 on 0.
        chance: that a drawing is changed; half of those become wider.
    """
    wide = F.max_pool2d(ink, 3, stride=1, padding=1)
    # A thinner line must not vanish: lines of one pixel have nothing to lose.
    thin = torch.maximum(-F.max_pool2d(-ink, 3, stride=1, padding=1), 0.5 * ink)
    draw = torch.rand(3, len(ink), 1, 1, 1, device=ink.device)
    other = torch.where(draw[0] < 0.5, wide, thin)
    return torch.where(draw[1] < chance, torch.lerp(ink, other, draw[2]), ink)


def cut_stroke_gaps(ink: Ink, chance: float, knots: int = 8) -> Ink:
    """Some drawings with parts of their lines left out, where a smooth random field is low.

    Args:
        ink: lines near 1 on 0.
        chance: that a drawing loses parts; up to a quarter of its area then goes.
        knots: size of the field, along each side.
    """
    b, _, h, w = ink.shape
    field = F.interpolate(torch.rand(b, 1, knots, knots, device=ink.device), size=(h, w), mode="bilinear")
    share = 0.25 * torch.rand(b, device=ink.device)
    share = share * (torch.rand(b, device=ink.device) < chance)
    lowest = torch.sort(field.flatten(1), dim=1).values
    bound = lowest.gather(1, (share * (lowest.shape[1] - 1)).long()[:, None])
    return ink * (field >= bound[:, :, None, None])
