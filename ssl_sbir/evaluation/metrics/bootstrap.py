"""Percentile bootstrap intervals over queries or classes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BOOTSTRAP_DRAWS = 1000
RESAMPLED_QUERIES_AT_ONCE = 1 << 22  # in memory


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half its width: the number after ±."""
        return (self.high - self.low) / 2


def resampled_means(
    values: Float[Tensor, "q m"], draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> Float[Tensor, "draws m"]:
    """Means over as many rows as there are, sampled with replacement."""
    return torch.cat(
        [weights @ values.cpu() / len(values) for weights in _resampling_weights(len(values), draws, seed)]
    )


def percentile_intervals(means: Float[Tensor, "draws m"]) -> list[Interval]:
    """The middle 95 % of resampled means, one interval per column."""
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype), dim=0)
    return [Interval(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _resampling_weights(rows: int, draws: int, seed: int) -> Iterator[Float[Tensor, "b q"]]:
    """How often each row is sampled, in batches of resamples."""
    generator = torch.Generator().manual_seed(seed)
    step = max(1, RESAMPLED_QUERIES_AT_ONCE // rows)
    for start in range(0, draws, step):
        count = min(step, draws - start)
        sampled = torch.randint(rows, (count, rows), generator=generator)
        flat = (sampled + torch.arange(count)[:, None] * rows).view(-1)
        yield torch.bincount(flat, minlength=count * rows).view(count, rows).double()
