"""Average precision and precision at k in all their published variants, from the ranks of the relevant items.

Every measure gives one value per query; a query without a relevant item gets NaN, never 0 or 1.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.evaluation.metrics.expected_ties import (
    expected_hits,
    expected_precision,
    expected_precision_over_hits,
)
from ssl_sbir.ranking.relevance import RelevantRanks, row_sums

TieHandling = Literal["stable", "grouped", "expected"]
Envelope = Literal["plain", "voc"]
AveragePrecisionDenominator = Literal["R", "min(k,R)", "hits", "k"]
PrecisionDenominator = Literal["k", "min(k,N)", "min(k,R)", "rank k+1"]


@dataclass(frozen=True)
class AveragePrecision:
    """The mean of precision over the relevant items.

    Attributes:
        envelope: `plain` takes the precision at each relevant rank; `voc` the highest precision at that rank or
            a later one (Pascal VOC 2010; `VOCap` of SAKE's and ZSE-SBIR's released code).
        k: only the first k items count; None for all.
        over: what the sum of precisions is divided by: `R` the relevant items of the gallery, `min(k,R)`
            (SAKE, ZSE-SBIR), `hits` the relevant items among the first k (SEM-PCYC, Doodle2Search: scikit-learn
            on the truncated list; 0 without any), `k` (Yelamarthi et al.).
        ties: `stable` breaks ties by gallery order; `grouped` treats tied items as one rank, as scikit-learn does;
            `expected` is the mean over all orders of the tied items (plain only).
    """

    envelope: Envelope = "plain"
    k: int | None = None
    over: AveragePrecisionDenominator = "R"
    ties: TieHandling = "stable"

    def __post_init__(self) -> None:
        if self.envelope == "voc" and self.ties == "expected":
            raise ValueError("the VOC envelope has no closed mean over the orders of tied items")

    def with_ties(self, ties: TieHandling) -> "AveragePrecision":
        """The same measure under another tie rule."""
        return replace(self, ties=ties)

    def __call__(self, items: RelevantRanks) -> Float[Tensor, " t"]:
        """[t] a value in 0..1 for each query, NaN where nothing is relevant."""
        ties = self.ties if items.tied is not None else "stable"
        if ties == "expected" and self.over == "hits" and self.k is not None:
            return _nan_without_relevant(expected_precision_over_hits(items, self.k), items)
        precision = {
            "stable": _stable_precision,
            "grouped": _grouped_precision,
            "expected": expected_precision,
        }[ties](items, self.k)
        if self.envelope == "voc":
            precision = precision.flip(1).cummax(1).values  # ranks beyond k come first, as 0
        return _nan_without_relevant(row_sums(precision) / self._sum_denominator(items), items)

    def _sum_denominator(self, items: RelevantRanks) -> Tensor | int:
        if self.over == "R" or self.k is None:
            return items.count
        if self.over == "k":
            return self.k
        return (
            items.count.clamp(max=self.k) if self.over == "min(k,R)" else items.hits_at_k(self.k).clamp(min=1)
        )


@dataclass(frozen=True)
class PrecisionAtK:
    """The share of relevant items among the first k.

    Attributes:
        k: the number of first items that count.
        over: what the hits are divided by: `k`; `min(k,N)` (SAKE, SEM-PCYC); `min(k,R)`, where only the first
            min(k,R) items count (ZSE-SBIR); `rank k+1` is not a share but whether the item after the first k is
            relevant (Doodle2Search indexes its sorted list with k).
        ties: as for `AveragePrecision`; `grouped` isn't defined here and breaks ties by gallery order.
    """

    k: int
    over: PrecisionDenominator = "k"
    ties: TieHandling = "stable"

    def with_ties(self, ties: TieHandling) -> "PrecisionAtK":
        """The same measure under another tie rule; `grouped` is `stable`."""
        return replace(self, ties="stable" if ties == "grouped" else ties)

    def __call__(self, items: RelevantRanks) -> Float[Tensor, " t"]:
        """[t] a value in 0..1 for each query, NaN where nothing is relevant or rank k+1 doesn't exist."""
        if self.over == "rank k+1":
            value = self._count_hits(items, self.k + 1) - self._count_hits(items, self.k)
            value = value if self.k < items.items else torch.full_like(value, torch.nan)
        elif self.over == "min(k,R)":
            first = items.count.clamp(min=1, max=self.k)
            value = self._count_hits(items, first) / first
        else:
            value = self._count_hits(items, self.k) / (
                self.k if self.over == "k" else min(self.k, items.items)
            )
        return _nan_without_relevant(value, items)

    def _count_hits(self, items: RelevantRanks, k: int | Tensor) -> Tensor:
        hits = items.hits_at_k(k).double()
        return expected_hits(items, k, hits) if self.ties == "expected" else hits


@dataclass(frozen=True)
class AccuracyAtK:
    """Whether a relevant item is among the first k (acc@k, for instances)."""

    k: int
    ties: TieHandling = "stable"

    def with_ties(self, ties: TieHandling) -> "AccuracyAtK":
        """The same measure under another tie rule."""
        return replace(self, ties=ties)

    def __call__(self, items: RelevantRanks) -> Float[Tensor, " t"]:
        """[t] 0 or 1 for each query, NaN where nothing is relevant."""
        return _nan_without_relevant((items.rank[:, 0] <= self.k).double(), items)


RankingMeasure = AveragePrecision | PrecisionAtK | AccuracyAtK


def _stable_precision(items: RelevantRanks, k: int | None) -> Tensor:
    if k is None:
        return items.precision_at_ranks
    return items.precision_at_ranks[:, :k].masked_fill(items.rank[:, :k] > k, 0)


def _grouped_precision(items: RelevantRanks, k: int | None) -> Tensor:
    assert items.tied is not None
    precision, tied = _stable_precision(items, k).clone(), items.tied
    hits, end = tied.before + tied.relevant, tied.above + tied.equal
    if k is not None:  # the list is cut at k first, which may split a group
        hits, end = hits.minimum(items.hits_at_k(k)[tied.row]), end.clamp(max=k)
    within = items.rank[tied.row, tied.relevant_index] <= (items.items if k is None else k)
    precision[tied.row[within], tied.relevant_index[within]] = (hits / end.double())[within]
    return precision


def _nan_without_relevant(value: Tensor, items: RelevantRanks) -> Tensor:
    return value.double().masked_fill(items.count == 0, torch.nan)
