"""Heat maps as plain numbers, for JSON and templates."""

from jaxtyping import Float
from torch import Tensor

Grid = tuple[tuple[float, ...], ...]
GridCell = tuple[int, int]


def to_grid(values: Float[Tensor, "h w"]) -> Grid:
    """A map as nested tuples of plain floats."""
    return tuple(tuple(row) for row in values.tolist())
