"""Where the relevant items of each query stand in its ranking: all that a measure of retrieval needs to know."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.retrieval.order import Order

ABSENT = 2**31 - 1  # the rank of padding: behind every item of every gallery


@dataclass(frozen=True)
class Standing:
    """Relevant items, query by query and best first.

    Attributes:
        queries: how many queries there are.
        row: [m] the query.
        rank: [m] the last place that the item takes, from 1; ties in gallery order.
        weight: [m] how many places it takes (its multiplicity in the gallery).
        above: [m] how many places go to items with a strictly higher score.
        equal: [m] how many places go to items with its very score.
    """

    queries: int
    row: Int[Tensor, " m"]
    rank: Int[Tensor, " m"]
    weight: Int[Tensor, " m"]
    above: Int[Tensor, " m"]
    equal: Int[Tensor, " m"]


@dataclass(frozen=True)
class Tied:
    """One entry for each relevant item in a group of equal scores.

    Attributes:
        row: [e] its query.
        place: [e] its place among the query's relevant items, best first, from 0.
        above: [e] items with a higher score (A).
        equal: [e] items with this score (n), itself included.
        before: [e] relevant items with a higher score (F).
        relevant: [e] relevant items with this score (r), itself included.
    """

    row: Int[Tensor, " e"]
    place: Int[Tensor, " e"]
    above: Int[Tensor, " e"]
    equal: Int[Tensor, " e"]
    before: Int[Tensor, " e"]
    relevant: Int[Tensor, " e"]

    def chosen(self, which: Bool[Tensor, " e"]) -> "Tied":
        """The entries for which `which` is true."""
        fields = (self.row, self.place, self.above, self.equal, self.before, self.relevant)
        return Tied(*(part[which] for part in fields))


@dataclass(frozen=True)
class Relevant:
    """The standing of each query's relevant items, best first, as a table padded to the longest row.

    Attributes:
        rank: [t, r] place from 1, ties in gallery order; `ABSENT` where a row is padded.
        count: [t] how many relevant items each query has (R).
        items: size of the gallery (N).
        tied: the relevant items that share their score with another item; None where there is none.
    """

    rank: Int[Tensor, "t r"]
    count: Int[Tensor, " t"]
    items: int
    tied: Tied | None = None

    @cached_property
    def precision(self) -> Float[Tensor, "t r"]:
        """[t, r] the precision at each relevant rank; without meaning where padded."""
        width = self.rank.shape[1]
        return torch.arange(1, width + 1, device=self.rank.device, dtype=torch.float64) / self.rank

    def hits(self, k: int | Int[Tensor, " t"]) -> Int[Tensor, " t"]:
        """[t] how many relevant items are among the first k, ties in gallery order."""
        wanted = k[:, None] if isinstance(k, Tensor) else torch.full_like(self.count, k)[:, None]
        return torch.searchsorted(self.rank, wanted.to(self.rank.dtype), right=True).squeeze(1)


def relevant_places(order: Order, wanted: Any, labels: Any) -> Any:
    """Where in the flattened rankings the relevant items are.

    Args:
        order: rankings of t queries over n items.
        wanted: [t] the label that makes an item relevant; numpy or torch, as `order` is.
        labels: [n] each item's label; likewise.
    """
    return _nonzero(_looked_up(labels, order.items) == wanted[:, None])


def standing(order: Order, found: Any, weights: Any = None, ties: bool = False) -> Standing:
    """How some items stand in rankings.

    Args:
        order: rankings of t queries over n items.
        found: places in the flattened rankings, ascending.
        weights: [n] how often each item is in the gallery; once where None. Those that aren't are left out.
        ties: whether to look for equal scores; `above` and `equal` say "none" otherwise.
    """
    n = order.items.shape[1]
    if weights is None:
        place = found % n
        start, stop = _groups(order, found, place) if ties else (place, place + 1)
        return _standing(order, found, place + 1, 1 + 0 * place, start, stop)
    drawn = _looked_up(weights, order.items)
    weight = drawn.reshape(-1)[found]
    found, weight = found[weight > 0], weight[weight > 0]
    through = torch.as_tensor(drawn).cumsum(1, dtype=torch.int32).reshape(-1)
    rank = through[torch.as_tensor(found)]
    if not ties:
        return _standing(order, found, rank, weight, rank - torch.as_tensor(weight), rank)
    start, stop = _groups(order, found, found % n)
    row = found - found % n
    above = through[torch.as_tensor(row + start)] - torch.as_tensor(drawn.reshape(-1)[row + start])
    return _standing(order, found, rank, weight, above, through[torch.as_tensor(row + stop - 1)])


def _standing(order: Order, found: Any, rank: Any, weight: Any, above: Any, upto: Any) -> Standing:
    queries, n = order.items.shape
    parts = (torch.as_tensor(part).long() for part in (found // n, rank, weight, above, upto))
    row, rank, weight, above, upto = parts
    return Standing(queries, row, rank, weight, above, upto - above)


def relevant(parts: list[Standing], queries: int, items: int, ties: bool) -> Relevant:
    """The table of some standings that follow each other.

    Args:
        parts: standings of consecutive queries.
        queries: how many queries that is together (t).
        items: size of the gallery, multiplicities counted.
        ties: whether equal scores matter.
    """
    found = _copies(_joined(parts))
    count = torch.bincount(found.row, minlength=queries)
    place = torch.arange(len(found.row), device=count.device) - (count.cumsum(0) - count)[found.row]
    table = torch.full((queries, max(1, int(count.max()))), ABSENT, dtype=torch.int32, device=count.device)
    table[found.row, place] = found.rank.int()
    return Relevant(table, count, items, _tied(found, place) if ties else None)


def _joined(parts: list[Standing]) -> Standing:
    starts = list(accumulate((part.queries for part in parts), initial=0))
    row = torch.cat([part.row + start for part, start in zip(parts, starts[:-1], strict=True)])
    rest = [
        torch.cat([getattr(part, name) for part in parts]) for name in ("rank", "weight", "above", "equal")
    ]
    return Standing(starts[-1], row, *rest)


def _copies(once: Standing) -> Standing:
    """Each item as often as it is in the gallery, its copies one behind the other."""
    weight = once.weight
    if bool((weight == 1).all()):
        return once
    copy = torch.arange(len(weight), device=weight.device).repeat_interleave(weight)
    nth = torch.arange(len(copy), device=weight.device) - (weight.cumsum(0) - weight)[copy]
    rank = (once.rank - weight + 1)[copy] + nth
    return Standing(
        once.queries, once.row[copy], rank, torch.ones_like(copy), once.above[copy], once.equal[copy]
    )


def _tied(found: Standing, place: Tensor) -> Tied | None:
    some = (found.equal > 1).nonzero().squeeze(1)
    if len(some) == 0:
        return None
    row, place, above, equal = (part[some] for part in (found.row, place, found.above, found.equal))
    _, group, sizes = torch.unique_consecutive(
        torch.stack([row, above]), dim=1, return_inverse=True, return_counts=True
    )
    first = (sizes.cumsum(0) - sizes)[group]
    return Tied(row, place, above, equal, place[first], sizes[group])


def _groups(order: Order, found: Any, place: Any) -> tuple[Any, Any]:
    """Where in its row the group of equal scores around each entry starts and stops."""
    n, score = order.items.shape[1], order.scores_at(found)
    last = order.items.shape[0] * n - 1
    before = (place > 0) & (order.scores_at((found - 1).clip(0)) == score)
    after = (place < n - 1) & (order.scores_at((found + 1).clip(None, last)) == score)
    some = _nonzero(before | after)
    start, stop = place + 0, place + 1
    row = (found - place)[some]
    start[some] = _bisected(order, row, score[some], through=False)
    stop[some] = _bisected(order, row, score[some], through=True)
    return start, stop


def _bisected(order: Order, row: Any, score: Any, through: bool) -> Any:
    """How many entries of rows that start at `row` are before a score, or not behind it: one bisection for all."""
    n = order.items.shape[1]
    low, high = 0 * row, 0 * row + n
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        probe = order.scores_at(row + middle.clip(None, n - 1))
        less = ((probe <= score) if through else (probe < score)) & (middle < high)
        low, high = low + less * (middle + 1 - low), middle + less * (high - middle)
    return low


def _looked_up(table: Any, items: Any) -> Any:
    return table.take(items) if isinstance(items, np.ndarray) else table[items]


def _nonzero(flags: Any) -> Any:
    return np.flatnonzero(flags) if isinstance(flags, np.ndarray) else flags.reshape(-1).nonzero().squeeze(1)
