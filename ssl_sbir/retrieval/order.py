"""Gallery items of each query, best first, ties in gallery order: one sort that everything else reads.

On the CPU a float32 score becomes an integer that falls as the score rises; below it, in the same 64 bits, goes the
item's place. Numpy sorts such numbers with vector instructions, at half the cost of sorting places by score.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

PLACE = np.int64(0xFFFFFFFF)
MAGNITUDE = np.int32(0x7FFFFFFF)


@dataclass(frozen=True)
class Order:
    """Rankings of some queries; numpy arrays for scores on the CPU, tensors elsewhere.

    Attributes:
        items: [t, n] gallery items, best first.
        keys: [t, n] numbers that rise as the score falls, in the same order.
        shift: how many low bits of `keys` to drop so that equal scores have equal keys.
    """

    items: Any
    keys: Any
    shift: int = 0

    def rows(self, some: slice) -> "Order":
        """The rankings of some of the queries."""
        return Order(self.items[some], self.keys[some], self.shift)

    def scores_at(self, flat: Any) -> Any:
        """Numbers that rise as the score falls, at some places of the flattened rankings."""
        keys = self.keys.reshape(-1)
        found = keys.take(flat) if isinstance(keys, np.ndarray) else keys[flat]
        return found >> self.shift if self.shift else found


def best_first(scores: Float[Tensor, "t n"]) -> Order:
    """The full ranking of each row, ties in gallery order."""
    if scores.device.type != "cpu":
        keys, items = torch.sort(-scores, dim=1, stable=True)
        return Order(items, keys)
    if scores.dtype == torch.float32 and sys.byteorder == "little":
        return _packed(scores.numpy())
    values = -scores.double().numpy()
    places = np.argsort(values, axis=1, kind="stable")
    return Order(places, np.take_along_axis(values, places, 1))


def top(scores: Float[Tensor, "t n"], k: int) -> tuple[Float[Tensor, "t k"], Int[Tensor, "t k"]]:
    """Scores and items of the first k places of each row, ties in gallery order."""
    items = torch.as_tensor(best_first(scores).items)[:, :k].long().contiguous()
    return scores.gather(1, items), items


def _packed(scores: np.ndarray) -> Order:
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 turns −0 into 0
    rise = bits >> 31
    rise &= MAGNITUDE
    rise ^= bits  # floats in the order of integers
    keys = np.empty(scores.shape, np.int64)
    words = keys.view(np.int32).reshape(*scores.shape, 2)
    np.invert(rise, out=words[..., 1])
    words[..., 0] = np.arange(scores.shape[1], dtype=np.int32)
    keys.sort(axis=1)
    return Order(keys & PLACE, keys, 32)
