"""How far the figures would move with other queries or other classes: percentile bootstraps."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BOOTSTRAP_DRAWS = 1000
RESAMPLED_QUERIES_AT_ONCE = 1 << 22  # resampled queries held at a time


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half its width: the figure behind ±."""
        return (self.high - self.low) / 2


def resampled_means(
    values: Float[Tensor, "q m"], draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> Float[Tensor, "draws m"]:
    """Means over rows drawn with repetition, as many as there are rows."""
    return torch.cat(
        [weights @ values.cpu() / len(values) for weights in _resampling_weights(len(values), draws, seed)]
    )


def percentile_intervals(means: Float[Tensor, "draws m"]) -> list[Interval]:
    """The middle 95 % of resampled means, a column each."""
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype), dim=0)
    return [Interval(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _resampling_weights(rows: int, draws: int, seed: int) -> Iterator[Float[Tensor, "b q"]]:
    """How often each row is drawn, some draws at a time."""
    generator = torch.Generator().manual_seed(seed)
    step = max(1, RESAMPLED_QUERIES_AT_ONCE // rows)
    for start in range(0, draws, step):
        some = min(step, draws - start)
        drawn = torch.randint(rows, (some, rows), generator=generator)
        flat = (drawn + torch.arange(some)[:, None] * rows).view(-1)
        yield torch.bincount(flat, minlength=some * rows).view(some, rows).double()
