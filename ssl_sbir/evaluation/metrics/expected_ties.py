"""Measures averaged over all orders of tied items, in closed form.

A group of n tied items, r of them relevant, starts after A items with F relevant ones. Over all orders of the
group, its p-th item is relevant with probability r/n, and then (p−1)(r−1)/(n−1) relevant items of the group stand
before it on average, so the group adds Σ_p (r/n) · (F + 1 + (p−1)(r−1)/(n−1)) / (A + p)
(McSherry & Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", ECIR 2008). With the harmonic numbers H, Σ 1/(A+p) = H(A+n) − H(A) and
Σ (p−1)/(A+p) = n − (A+1)(H(A+n) − H(A)).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.ranking.relevance import RelevantRanks, TiedEntries, row_sums


def expected_precision(items: RelevantRanks, k: int | None) -> Float[Tensor, "t r"]:
    """[t, r] the expected contribution of each relevant item to the sum of precisions over the first k."""
    values, tied = _untied_precision(items, k), items.tied
    return (
        values
        if tied is None
        else values.index_put(
            (tied.row, tied.relevant_index), _expected_group_share(tied, _count_group_items_within(tied, k))
        )
    )


def expected_hits(
    items: RelevantRanks, k: int | Int[Tensor, " t"], stable_hits: Float[Tensor, " t"]
) -> Float[Tensor, " t"]:
    """[t] the expected number of relevant items among the first k, from the number under stable ties."""
    tied = items.tied
    if tied is None:
        return stable_hits
    limit = k[tied.row] if isinstance(k, Tensor) else k
    counted = (items.rank[tied.row, tied.relevant_index] <= limit).double()
    expected = _count_group_items_within(tied, limit).double() / tied.equal
    return stable_hits.index_add(0, tied.row, expected - counted)


def expected_precision_over_hits(items: RelevantRanks, k: int) -> Float[Tensor, " t"]:
    """[t] the expected ratio of the sum of precisions over the first k to the hits among them."""
    sums, tied = row_sums(_untied_precision(items, k)), items.tied
    hits = (items.rank[:, :k] <= k).sum(1).double()
    if tied is None:
        return sums / hits.clamp(min=1)
    counted = (items.rank[tied.row, tied.relevant_index] <= k).double()
    within = _count_group_items_within(tied, k)
    whole = (within == tied.equal).double()
    hits = hits.index_add(0, tied.row, whole - counted)
    sums = sums.index_add(0, tied.row, whole * _expected_group_share(tied, within))
    result = sums / hits.clamp(min=1)
    is_cut = (within > 0) & (within < tied.equal) & (tied.relevant_index == tied.before)
    cut = tied.select_entries(is_cut)  # at most one per query
    if len(cut.row):
        result[cut.row] = _expected_cut_group(cut, sums[cut.row, None], hits[cut.row, None], k)
    return result


def chance_average_precision(relevant: Int[Tensor, " q"], items: int) -> Float[Tensor, " q"]:
    """[q] the expected average precision of a random ranking, given how many of `items` are relevant."""
    harmonic = _harmonic_numbers(items, relevant.device)[items]
    spread = (relevant.double() - 1) / max(1, items - 1) * (items - harmonic)
    return ((harmonic + spread) / items).masked_fill(relevant == 0, torch.nan)


def _untied_precision(items: RelevantRanks, k: int | None) -> Tensor:
    """The precision at each relevant rank up to k, and 0 for tied items."""
    values = items.precision_at_ranks.masked_fill(items.rank > (items.items if k is None else k), 0)
    return (
        values
        if items.tied is None
        else values.index_put((items.tied.row, items.tied.relevant_index), values.new_zeros(1))
    )


def _count_group_items_within(tied: TiedEntries, k: int | Tensor | None) -> Tensor:
    """The number of items of the group among the first k."""
    return tied.equal if k is None else (k - tied.above).clamp(min=0).minimum(tied.equal)


def _expected_group_share(tied: TiedEntries, within: Tensor) -> Tensor:
    """What one relevant item's part of its group adds when the first `within` items of the group count."""
    harmonic = _harmonic_numbers(int((tied.above + tied.equal).max()), within.device)
    reciprocal = harmonic[tied.above + within] - harmonic[tied.above]
    spread = (tied.relevant - 1) / (tied.equal - 1).double()
    return ((tied.before + 1) * reciprocal + spread * (within - (tied.above + 1) * reciprocal)) / tied.equal


def _expected_cut_group(cut: TiedEntries, sums: Tensor, hits: Tensor, k: int) -> Tensor:
    """The mean over how many relevant items of the group that k splits are within k (hypergeometric)."""
    n, r, above = (part[:, None].double() for part in (cut.equal, cut.relevant, cut.above))
    w = k - above
    h = torch.arange(min(k, int(r.max())) + 1, device=n.device, dtype=torch.float64)[None]
    possible = (h <= r) & (h <= w) & (w - h <= n - r)
    log = _log_choose(r, h) + _log_choose(n - r, w - h) - _log_choose(n, w)
    harmonic = _harmonic_numbers(k, n.device)
    reciprocal = harmonic[k] - harmonic[cut.above][:, None]
    spread = (h - 1) / (w - 1).clamp(min=1) * (w - (above + 1) * reciprocal)
    value = (sums + h / w * ((hits + 1) * reciprocal + spread)) / (hits + h).clamp(min=1)
    return row_sums(log.exp().masked_fill(~possible, 0) * value)


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    k = k.clamp(min=0)
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma((n - k).clamp(min=0) + 1)


def _harmonic_numbers(items: int, device: torch.device) -> Tensor:
    """Harmonic numbers H(0) … H(items)."""
    terms = torch.arange(1, items + 1, device=device, dtype=torch.float64).reciprocal()
    return torch.cat([terms.new_zeros(1), terms.cumsum(0)])
