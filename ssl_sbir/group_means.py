"""Vectorised means of the rows of each class or cluster."""

from jaxtyping import Float, Int
from torch import Tensor


def class_means(
    values: Float[Tensor, "n m"], labels: Int[Tensor, " n"]
) -> tuple[Int[Tensor, " c"], Float[Tensor, "c m"]]:
    """The labels that occur, and for each the mean over its rows."""
    present, index = labels.unique(return_inverse=True)
    return present, group_means(values, index, len(present))


def group_means(
    values: Float[Tensor, "n m"], group: Int[Tensor, " n"], groups: int
) -> Float[Tensor, "groups m"]:
    """The mean of the rows of each group, numbered from 0; zero for an empty one."""
    sums = values.new_zeros(groups, values.shape[1]).index_add_(0, group, values)
    return sums / group.bincount(minlength=groups).clamp(min=1)[:, None]
