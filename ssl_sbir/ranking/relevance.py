"""Ranks of the relevant items of each query: the input of every retrieval metric."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.ranking.sorting import SortedItems

PADDING_RANK = 2**31 - 1  # rank of padding: beyond every gallery


@dataclass(frozen=True)
class FlatRelevantRanks:
    """Ranks of relevant items, query by query and best first; an item counts as often as it is in the gallery.

    Attributes:
        count: [t] relevant items of each query.
        rank: [m] rank of each, from 1; ties in gallery order.
        above: [m] number of items with a strictly higher score; None where ties were not computed.
        equal: [m] number of items with the same score, itself included; likewise.
    """

    count: Int[Tensor, " t"]
    rank: Int[Tensor, " m"]
    above: Int[Tensor, " m"] | None = None
    equal: Int[Tensor, " m"] | None = None


@dataclass(frozen=True)
class TiedEntries:
    """One entry per relevant item in a group of equal scores.

    Attributes:
        row: [e] its query.
        relevant_index: [e] its index among the query's relevant items, best first.
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
        """The entries where `mask` is true."""
        fields = (self.row, self.relevant_index, self.above, self.equal, self.before, self.relevant)
        return TiedEntries(*(part[mask] for part in fields))


@dataclass(frozen=True)
class RelevantRanks:
    """Ranks of each query's relevant items, best first, as a table padded to the longest row.

    Attributes:
        rank: [t, r] rank from 1, ties in gallery order; `PADDING_RANK` where a row is padded.
        count: [t] relevant items of each query (R).
        items: size of the gallery (N).
        tied: the relevant items that share their score with another item; None where there are none.
    """

    rank: Int[Tensor, "t r"]
    count: Int[Tensor, " t"]
    items: int
    tied: TiedEntries | None = None

    @cached_property
    def precision_at_ranks(self) -> Float[Tensor, "t r"]:
        """Precision [t, r] at each relevant rank; 0 where padded."""
        step = torch.arange(1, self.rank.shape[1] + 1, device=self.rank.device, dtype=torch.float64)
        return (step / self.rank).masked_fill_(self.rank == PADDING_RANK, 0)

    def hits_at_k(self, k: int | Int[Tensor, " t"]) -> Int[Tensor, " t"]:
        """Number [t] of relevant items among the first k, ties in gallery order."""
        limit = k[:, None] if isinstance(k, Tensor) else torch.full_like(self.count, k)[:, None]
        return torch.searchsorted(self.rank, limit.to(self.rank.dtype), right=True).squeeze(1)


def row_sums(values: Float[Tensor, "t r"]) -> Float[Tensor, " t"]:
    """Sums [t] from left to right: the same bits however far a row is padded with zeros."""
    return values.cumsum(1)[:, -1]


def find_relevant_indices(ranking: SortedItems, query_labels: Any, item_labels: Any) -> Any:
    """Indices of the relevant items in the flattened rankings, ascending.

    Args:
        ranking: rankings of t queries over n items.
        query_labels: [t] the label of relevant items; numpy or torch, as `ranking` is.
        item_labels: [n] each item's label; likewise.
    """
    return _flat_nonzero(_take_items(item_labels, ranking.items) == query_labels[:, None])


def flat_relevant_ranks(
    ranking: SortedItems, flat_indices: Any, weights: Any = None, ties: bool = False
) -> FlatRelevantRanks:
    """Ranks of some items.

    Args:
        ranking: rankings of t queries over n items.
        flat_indices: indices of the items in the flattened rankings, ascending.
        weights: [n] how often each item is in the gallery; None for once. Items of weight 0 are left out.
        ties: whether to look for equal scores.
    """
    if weights is not None:
        return _weighted_relevant_ranks(ranking, flat_indices, _take_items(weights, ranking.items), ties)
    count, position = _counts_and_positions(ranking, flat_indices)
    if not ties:
        return FlatRelevantRanks(count, torch.as_tensor(position + 1))
    start, stop = (torch.as_tensor(edge) for edge in _tie_group_bounds(ranking, flat_indices, position))
    return FlatRelevantRanks(count, torch.as_tensor(position + 1), start, stop - start)


def pad_relevant_ranks(ranks: FlatRelevantRanks, items: int) -> RelevantRanks:
    """The ranks as a padded table; `items` is the size of the gallery, multiplicities counted."""
    width = max(1, int(ranks.count.max()))
    valid = torch.arange(width, device=ranks.count.device) < ranks.count[:, None]
    table = torch.full(valid.shape, PADDING_RANK, dtype=torch.int32, device=valid.device)
    table.masked_scatter_(valid, ranks.rank.int())
    return RelevantRanks(table, ranks.count, items, _find_tied_entries(ranks))


def _weighted_relevant_ranks(
    ranking: SortedItems, flat_indices: Any, weights: Any, ties: bool
) -> FlatRelevantRanks:
    """`weights` [t, n] are in the order of the rankings."""
    weight = weights.reshape(-1)[flat_indices]
    flat_indices = flat_indices[weight > 0]
    distinct_count, position = _counts_and_positions(ranking, flat_indices)
    times = torch.as_tensor(weight[weight > 0]).long()
    through = torch.as_tensor(weights).cumsum(1, dtype=torch.int32).reshape(-1)
    copy = torch.arange(len(times), device=times.device).repeat_interleave(times)
    total = times.cumsum(0)
    nth = torch.arange(1, len(copy) + 1, device=times.device) - (total - times)[copy]
    rank = (through[torch.as_tensor(flat_indices)] - times)[copy] + nth
    pad = torch.nn.functional.pad
    ends = pad(total, (1, 0))[pad(distinct_count.cumsum(0), (1, 0))]
    if not ties:
        return FlatRelevantRanks(ends.diff(), rank)
    start, stop = _tie_group_bounds(ranking, flat_indices, position)
    row_start = flat_indices - position
    first, last = row_start + start, row_start + stop - 1
    above = through[torch.as_tensor(first)] - torch.as_tensor(weights.reshape(-1)[first])
    equal = through[torch.as_tensor(last)] - above
    return FlatRelevantRanks(ends.diff(), rank, above[copy], equal[copy])


def _counts_and_positions(ranking: SortedItems, flat_indices: Any) -> tuple[Int[Tensor, " t"], Any]:
    """How many of some ascending indices of the flattened rankings are in each row, and their positions in it."""
    queries, n = ranking.items.shape
    if isinstance(flat_indices, np.ndarray):
        starts = np.arange(queries) * n
        count = np.diff(np.searchsorted(flat_indices, starts), append=len(flat_indices))
        return torch.from_numpy(count), flat_indices - np.repeat(starts, count)
    starts = torch.arange(queries, device=flat_indices.device) * n
    edges = torch.searchsorted(flat_indices, starts)
    count = edges.diff(append=edges.new_tensor([len(flat_indices)]))
    return count, flat_indices - starts.repeat_interleave(count)


def _find_tied_entries(ranks: FlatRelevantRanks) -> TiedEntries | None:
    """The entries that share their score with another item."""
    if ranks.above is None or ranks.equal is None:
        return None
    tied = (ranks.equal > 1).nonzero().squeeze(1)
    if len(tied) == 0:
        return None
    above, equal, ends = ranks.above[tied].long(), ranks.equal[tied].long(), ranks.count.cumsum(0)
    row = torch.searchsorted(ends, tied, right=True)
    relevant_index = tied - (ends - ranks.count)[row]
    _, group, sizes = torch.unique_consecutive(
        torch.stack([row, above]), dim=1, return_inverse=True, return_counts=True
    )
    first = (sizes.cumsum(0) - sizes)[group]
    return TiedEntries(row, relevant_index, above, equal, relevant_index[first], sizes[group])


def _tie_group_bounds(ranking: SortedItems, flat_indices: Any, position: Any) -> tuple[Any, Any]:
    """Start and stop, within its row, of the group of equal scores around each entry."""
    n, score = ranking.items.shape[1], ranking.keys_at(flat_indices)
    last = ranking.items.shape[0] * n - 1
    before = ranking.keys_at((flat_indices - 1).clip(0)) == score
    after = ranking.keys_at((flat_indices + 1).clip(None, last)) == score
    tied = _flat_nonzero((before & (position > 0)) | (after & (position < n - 1)))
    start, stop = position + 0, position + 1
    row_start = (flat_indices - position)[tied]
    start[tied] = _bisect_rows(ranking, row_start, score[tied], through=False)
    stop[tied] = _bisect_rows(ranking, row_start, score[tied], through=True)
    return start, stop


def _bisect_rows(ranking: SortedItems, row_start: Any, score: Any, through: bool) -> Any:
    """How many entries of each row come before a score (`through`: or equal it), by one bisection for all rows."""
    n = ranking.items.shape[1]
    low, high = 0 * row_start, 0 * row_start + n
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        probe = ranking.keys_at(row_start + middle.clip(None, n - 1))
        less = ((probe <= score) if through else (probe < score)) & (middle < high)
        low, high = low + less * (middle + 1 - low), middle + less * (high - middle)
    return low


def _take_items(table: Any, items: Any) -> Any:
    return table.take(items) if isinstance(items, np.ndarray) else table[items]


def _flat_nonzero(flags: Any) -> Any:
    return np.flatnonzero(flags) if isinstance(flags, np.ndarray) else flags.reshape(-1).nonzero().squeeze(1)
