"""How sure a mean is: bootstrap intervals over queries and over classes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

DRAWS = 1000
CHUNK = 50


def interval(values: Float[Tensor, " q"], *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean (Efron 1979); (nan, nan) without values.

    Args:
        values: one a query (or one a class); NaN takes no part.
        level: share of resampled means inside, in 0..1.
        seed: of the resampling.
    """
    values = values[~values.isnan()].double().cpu()
    if not len(values):
        return float("nan"), float("nan")
    generator = torch.Generator().manual_seed(seed)
    means = [_resampled(values, min(CHUNK, DRAWS - done), generator) for done in range(0, DRAWS, CHUNK)]
    tail = (1 - level) / 2
    low, high = torch.cat(means).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def _resampled(values: Float[Tensor, " q"], draws: int, generator: torch.Generator) -> Float[Tensor, " draws"]:
    places = torch.randint(len(values), (draws, len(values)), generator=generator)
    return values[places].mean(1)


def class_means(
    values: Float[Tensor, " q"], labels: Int[Tensor, " q"], classes: int
) -> Float[Tensor, " classes"]:
    """The mean of each class's values, NaN where a class has none; NaN values take no part."""
    known = ~values.isnan()
    sums = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels[known], values[known].double())
    return sums / labels[known].bincount(minlength=classes)
