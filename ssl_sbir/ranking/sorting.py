"""Sorts the gallery items of each query, best first, ties in gallery order.

On the CPU a float32 score becomes an integer that falls as the score rises; the item's index fills the low half of the
same 64 bits. Numpy sorts such numbers with vector instructions, at half the cost of an argsort of the scores.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

INDEX_MASK = np.int64(0xFFFFFFFF)
MAGNITUDE_MASK = np.int32(0x7FFFFFFF)


@dataclass(frozen=True)
class SortedItems:
    """Rankings of some queries; numpy arrays for scores on the CPU, tensors elsewhere.

    Attributes:
        items: [t, n] gallery items, best first.
        keys: [t, n] numbers that rise as the scores fall, in the same order.
        shift: how many low bits of `keys` to drop, so that equal scores have equal keys.
    """

    items: Any
    keys: Any
    shift: int = 0

    def select_queries(self, queries: slice) -> "SortedItems":
        """The rankings of a slice of the queries."""
        return SortedItems(self.items[queries], self.keys[queries], self.shift)

    def keys_at(self, flat_indices: Any) -> Any:
        """Keys at some indices of the flattened rankings; they rise as the score falls."""
        keys = self.keys.reshape(-1)
        found = keys.take(flat_indices) if isinstance(keys, np.ndarray) else keys[flat_indices]
        return found >> self.shift if self.shift else found


def sort_best_first(scores: Float[Tensor, "t n"]) -> SortedItems:
    """The full ranking of each row, ties in gallery order."""
    if scores.device.type != "cpu":
        keys, items = torch.sort(-scores, dim=1, stable=True)
        return SortedItems(items, keys)
    if scores.dtype == torch.float32 and sys.byteorder == "little":
        return _sort_packed_keys(scores.numpy())
    values = -scores.double().numpy()
    order = np.argsort(values, axis=1, kind="stable")
    return SortedItems(order, np.take_along_axis(values, order, 1))


def top_k_items(scores: Float[Tensor, "t n"], k: int) -> tuple[Float[Tensor, "t k"], Int[Tensor, "t k"]]:
    """Scores and items of the first k ranks of each row, ties in gallery order."""
    items = torch.as_tensor(sort_best_first(scores).items)[:, :k].long().contiguous()
    return scores.gather(1, items), items


def _sort_packed_keys(scores: np.ndarray) -> SortedItems:
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 turns −0 into 0
    rise = bits >> 31
    rise &= MAGNITUDE_MASK
    rise ^= bits  # integers in the order of the floats
    keys = np.empty(scores.shape, np.int64)
    words = keys.view(np.int32).reshape(*scores.shape, 2)
    np.invert(rise, out=words[..., 1])
    words[..., 0] = np.arange(scores.shape[1], dtype=np.int32)
    keys.sort(axis=1)
    return SortedItems(keys & INDEX_MASK, keys, 32)
