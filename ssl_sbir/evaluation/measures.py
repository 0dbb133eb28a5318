"""Average precision and precision at k in all their published variants, from the standing of the relevant items.

Every measure gives one value a query; a query without a relevant item gets NaN, never 0 or 1.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.evaluation import expected
from ssl_sbir.retrieval.relevance import Relevant, row_sums

Ties = Literal["stable", "grouped", "expected"]
Envelope = Literal["plain", "voc"]
Over = Literal["R", "min(k,R)", "hits", "k"]
PrecisionOver = Literal["k", "min(k,N)", "min(k,R)", "rank k+1"]


@dataclass(frozen=True)
class AveragePrecision:
    """The mean of precision over the relevant items.

    Attributes:
        envelope: `plain` takes the precision at each relevant rank; `voc` the highest precision at that rank or
            a later one (Pascal VOC 2010; `VOCap` of SAKE's and ZSE-SBIR's released code).
        k: only the first k items are looked at; None for all.
        over: what the sum of precisions is divided by: `R` the relevant items of the gallery, `min(k,R)`
            (SAKE, ZSE-SBIR), `hits` the relevant items among the first k (SEM-PCYC, Doodle2Search: scikit-learn
            on the truncated list; 0 where there is none), `k` (Yelamarthi et al.).
        ties: `stable` breaks ties by gallery order; `grouped` takes tied items together, as scikit-learn does;
            `expected` is the mean over all orders of the tied items (plain only).
    """

    envelope: Envelope = "plain"
    k: int | None = None
    over: Over = "R"
    ties: Ties = "stable"

    def __post_init__(self) -> None:
        if self.envelope == "voc" and self.ties == "expected":
            raise ValueError("the VOC envelope has no closed mean over the orders of tied items")

    def under(self, ties: Ties) -> "AveragePrecision":
        """The same measure under another tie rule."""
        return replace(self, ties=ties)

    def __call__(self, items: Relevant) -> Float[Tensor, " t"]:
        """[t] a value in 0..1 for each query, NaN where nothing is relevant."""
        tied = self.ties if items.tied is not None else "stable"
        if tied == "expected" and self.over == "hits" and self.k is not None:
            return _nan_where_nothing(expected.average_over_hits(items, self.k), items)
        precision = {"stable": _stable, "grouped": _grouped, "expected": expected.precision}[tied](
            items, self.k
        )
        if self.envelope == "voc":
            precision = precision.flip(1).cummax(1).values  # what is beyond k comes first, as 0
        return _nan_where_nothing(row_sums(precision) / self._denominator(items), items)

    def _denominator(self, items: Relevant) -> Tensor | int:
        if self.over == "R" or self.k is None:
            return items.count
        if self.over == "k":
            return self.k
        return items.count.clamp(max=self.k) if self.over == "min(k,R)" else items.hits(self.k).clamp(min=1)


@dataclass(frozen=True)
class Precision:
    """The share of relevant items among the first k.

    Attributes:
        k: how many items are looked at.
        over: what the hits are divided by: `k`; `min(k,N)` (SAKE, SEM-PCYC); `min(k,R)`, where only the first
            min(k,R) items are looked at (ZSE-SBIR); `rank k+1` is not a share at all but whether the item behind
            the first k is relevant (Doodle2Search indexes its sorted list with k).
        ties: as for `AveragePrecision`; `grouped` has no meaning of its own here and breaks ties by gallery order.
    """

    k: int
    over: PrecisionOver = "k"
    ties: Ties = "stable"

    def under(self, ties: Ties) -> "Precision":
        """The same measure under another tie rule; `grouped` is `stable`."""
        return replace(self, ties="stable" if ties == "grouped" else ties)

    def __call__(self, items: Relevant) -> Float[Tensor, " t"]:
        """[t] a value in 0..1 for each query, NaN where nothing is relevant or rank k+1 doesn't exist."""
        if self.over == "rank k+1":
            value = self._hits(items, self.k + 1) - self._hits(items, self.k)
            value = value if self.k < items.items else torch.full_like(value, torch.nan)
        elif self.over == "min(k,R)":
            first = items.count.clamp(min=1, max=self.k)
            value = self._hits(items, first) / first
        else:
            value = self._hits(items, self.k) / (self.k if self.over == "k" else min(self.k, items.items))
        return _nan_where_nothing(value, items)

    def _hits(self, items: Relevant, k: int | Tensor) -> Tensor:
        found = items.hits(k).double()
        return expected.hits(items, k, found) if self.ties == "expected" else found


@dataclass(frozen=True)
class Accuracy:
    """Whether a relevant item is among the first k (acc@k, for instances)."""

    k: int
    ties: Ties = "stable"

    def under(self, ties: Ties) -> "Accuracy":
        """The same measure under another tie rule."""
        return replace(self, ties=ties)

    def __call__(self, items: Relevant) -> Float[Tensor, " t"]:
        """[t] 0 or 1 for each query, NaN where nothing is relevant."""
        return _nan_where_nothing((items.rank[:, 0] <= self.k).double(), items)


Measure = AveragePrecision | Precision | Accuracy


def _stable(items: Relevant, k: int | None) -> Tensor:
    if k is None:
        return items.precision
    return items.precision[:, :k].masked_fill(items.rank[:, :k] > k, 0)


def _grouped(items: Relevant, k: int | None) -> Tensor:
    assert items.tied is not None
    precision, tied = _stable(items, k).clone(), items.tied
    found, end = tied.before + tied.relevant, tied.above + tied.equal
    if k is not None:  # the list is cut at k first, a group may be cut with it
        found, end = found.minimum(items.hits(k)[tied.row]), end.clamp(max=k)
    near = items.rank[tied.row, tied.place] <= (items.items if k is None else k)
    precision[tied.row[near], tied.place[near]] = (found / end.double())[near]
    return precision


def _nan_where_nothing(value: Tensor, items: Relevant) -> Tensor:
    return value.double().masked_fill(items.count == 0, torch.nan)
