"""Where the relevant items of each query stand in its ranking: all that a measure of retrieval needs to know."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.ranking.sorting import SortedItems

PADDING_RANK = 2**31 - 1  # the rank of padding: behind every item of every gallery


@dataclass(frozen=True)
class FlatRelevantRanks:
    """Relevant items, query by query and best first; an item counts as often as it is in the gallery.

    Attributes:
        count: [t] how many each query has.
        rank: [m] the place of each, from 1; ties in gallery order.
        above: [m] how many places go to items with a strictly higher score; None where nobody asked for ties.
        equal: [m] how many places go to items with its very score; likewise.
    """

    count: Int[Tensor, " t"]
    rank: Int[Tensor, " m"]
    above: Int[Tensor, " m"] | None = None
    equal: Int[Tensor, " m"] | None = None


@dataclass(frozen=True)
class TiedEntries:
    """One entry for each relevant item in a group of equal scores.

    Attributes:
        row: [e] its query.
        relevant_index: [e] its place among the query's relevant items, best first, from 0.
        above: [e] items with a higher score (A).
        equal: [e] items with this score (n), itself included.
        before: [e] relevant items with a higher score (F).
        relevant: [e] relevant items with this score (r), itself included.
    """

    row: Int[Tensor, " e"]
    relevant_index: Int[Tensor, " e"]
    above: Int[Tensor, " e"]
    equal: Int[Tensor, " e"]
    before: Int[Tensor, " e"]
    relevant: Int[Tensor, " e"]

    def select_entries(self, mask: Bool[Tensor, " e"]) -> "TiedEntries":
        """The entries for which `sample_attention_mask` is true."""
        fields = (self.row, self.relevant_index, self.above, self.equal, self.before, self.relevant)
        return TiedEntries(*(part[mask] for part in fields))


@dataclass(frozen=True)
class RelevantRanks:
    """The standing of each query's relevant items, best first, as a table padded to the longest row.

    Attributes:
        rank: [t, r] place from 1, ties in gallery order; `PADDING_RANK` where a row is padded.
        count: [t] how many relevant items each query has (R).
        items: size of the gallery (N).
        tied: the relevant items that share their score with another item; None where there is none.
    """

    rank: Int[Tensor, "t r"]
    count: Int[Tensor, " t"]
    items: int
    tied: TiedEntries | None = None

    @cached_property
    def precision_at_ranks(self) -> Float[Tensor, "t r"]:
        """[t, r] the precision at each relevant rank; 0 where padded."""
        step = torch.arange(1, self.rank.shape[1] + 1, device=self.rank.device, dtype=torch.float64)
        return (step / self.rank).masked_fill_(self.rank == PADDING_RANK, 0)

    def hits_at_k(self, k: int | Int[Tensor, " t"]) -> Int[Tensor, " t"]:
        """[t] how many relevant items are among the first k, ties in gallery order."""
        wanted = k[:, None] if isinstance(k, Tensor) else torch.full_like(self.count, k)[:, None]
        return torch.searchsorted(self.rank, wanted.to(self.rank.dtype), right=True).squeeze(1)


def row_sums(values: Float[Tensor, "t r"]) -> Float[Tensor, " t"]:
    """[t] sums added up from left to right: the same bits however far a row is padded with zeros."""
    return values.cumsum(1)[:, -1]


def find_relevant_indices(ranking: SortedItems, query_labels: Any, item_labels: Any) -> Any:
    """Where in the flattened rankings the relevant items are.

    Args:
        ranking: rankings of t queries over n items.
        query_labels: [t] the label that makes an item relevant; numpy or torch, as `ranking` is.
        item_labels: [n] each item's label; likewise.
    """
    return _flat_nonzero(_take_items(item_labels, ranking.items) == query_labels[:, None])


def flat_relevant_ranks(
    ranking: SortedItems, flat_indices: Any, weights: Any = None, ties: bool = False
) -> FlatRelevantRanks:
    """How some items stand in rankings.

    Args:
        ranking: rankings of t queries over n items.
        flat_indices: places in the flattened rankings, ascending.
        weights: [n] how often each item is in the gallery; once where None. Those that aren't are left out.
        ties: whether to look for equal scores.
    """
    if weights is not None:
        return _weighted_relevant_ranks(ranking, flat_indices, _take_items(weights, ranking.items), ties)
    count, place = _counts_and_positions(ranking, flat_indices)
    if not ties:
        return FlatRelevantRanks(count, torch.as_tensor(place + 1))
    start, stop = (torch.as_tensor(edge) for edge in _tie_group_bounds(ranking, flat_indices, place))
    return FlatRelevantRanks(count, torch.as_tensor(place + 1), start, stop - start)


def pad_relevant_ranks(ranks: FlatRelevantRanks, items: int) -> RelevantRanks:
    """The table of a standing in a gallery of that size, multiplicities counted."""
    width = max(1, int(ranks.count.max()))
    valid = torch.arange(width, device=ranks.count.device) < ranks.count[:, None]
    table = torch.full(valid.shape, PADDING_RANK, dtype=torch.int32, device=valid.device)
    table.masked_scatter_(valid, ranks.rank.int())
    return RelevantRanks(table, ranks.count, items, _find_tied_entries(ranks))


def _weighted_relevant_ranks(order: SortedItems, found: Any, drawn: Any, ties: bool) -> FlatRelevantRanks:
    weight = drawn.reshape(-1)[found]
    found = found[weight > 0]
    once, place = _counts_and_positions(order, found)
    times = torch.as_tensor(weight[weight > 0]).long()
    through = torch.as_tensor(drawn).cumsum(1, dtype=torch.int32).reshape(-1)
    copy = torch.arange(len(times), device=times.device).repeat_interleave(times)
    total = times.cumsum(0)
    nth = torch.arange(1, len(copy) + 1, device=times.device) - (total - times)[copy]
    rank = (through[torch.as_tensor(found)] - times)[copy] + nth
    upto = torch.nn.functional.pad(total, (1, 0))[torch.nn.functional.pad(once.cumsum(0), (1, 0))]
    if not ties:
        return FlatRelevantRanks(upto.diff(), rank)
    start, stop = _tie_group_bounds(order, found, place)
    row = found - place
    above = through[torch.as_tensor(row + start)] - torch.as_tensor(drawn.reshape(-1)[row + start])
    equal = through[torch.as_tensor(row + stop - 1)] - above
    return FlatRelevantRanks(upto.diff(), rank, above[copy], equal[copy])


def _counts_and_positions(order: SortedItems, found: Any) -> tuple[Int[Tensor, " t"], Any]:
    """How many of some ascending places of the flattened rankings are in each row, and their places in it."""
    queries, n = order.items.shape
    if isinstance(found, np.ndarray):
        starts = np.arange(queries) * n
        count = np.diff(np.searchsorted(found, starts), append=len(found))
        return torch.from_numpy(count), found - np.repeat(starts, count)
    starts = torch.arange(queries, device=found.device) * n
    edges = torch.searchsorted(found, starts)
    count = edges.diff(append=edges.new_tensor([len(found)]))
    return count, found - starts.repeat_interleave(count)


def _find_tied_entries(found: FlatRelevantRanks) -> TiedEntries | None:
    """The entries that share their score with another item."""
    if found.above is None or found.equal is None:
        return None
    some = (found.equal > 1).nonzero().squeeze(1)
    if len(some) == 0:
        return None
    above, equal, ends = found.above[some].long(), found.equal[some].long(), found.count.cumsum(0)
    row = torch.searchsorted(ends, some, right=True)
    place = some - (ends - found.count)[row]
    _, group, sizes = torch.unique_consecutive(
        torch.stack([row, above]), dim=1, return_inverse=True, return_counts=True
    )
    first = (sizes.cumsum(0) - sizes)[group]
    return TiedEntries(row, place, above, equal, place[first], sizes[group])


def _tie_group_bounds(order: SortedItems, found: Any, place: Any) -> tuple[Any, Any]:
    """Where in its row the group of equal scores around each entry starts and stops."""
    n, score = order.items.shape[1], order.keys_at(found)
    last = order.items.shape[0] * n - 1
    before = order.keys_at((found - 1).clip(0)) == score
    after = order.keys_at((found + 1).clip(None, last)) == score
    some = _flat_nonzero((before & (place > 0)) | (after & (place < n - 1)))
    start, stop = place + 0, place + 1
    row = (found - place)[some]
    start[some] = _bisect_rows(order, row, score[some], through=False)
    stop[some] = _bisect_rows(order, row, score[some], through=True)
    return start, stop


def _bisect_rows(order: SortedItems, row: Any, score: Any, through: bool) -> Any:
    """How many entries of rows that start at `row` are before a score, or not behind it: one bisection for all."""
    n = order.items.shape[1]
    low, high = 0 * row, 0 * row + n
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        probe = order.keys_at(row + middle.clip(None, n - 1))
        less = ((probe <= score) if through else (probe < score)) & (middle < high)
        low, high = low + less * (middle + 1 - low), middle + less * (high - middle)
    return low


def _take_items(table: Any, items: Any) -> Any:
    return table.take(items) if isinstance(items, np.ndarray) else table[items]


def _flat_nonzero(flags: Any) -> Any:
    return np.flatnonzero(flags) if isinstance(flags, np.ndarray) else flags.reshape(-1).nonzero().squeeze(1)
