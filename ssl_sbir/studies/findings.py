"""What a label study found: curves with intervals, labels saved, areas, paired tests and gains of classes."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.evaluation.compare import Difference, Scored, compare, holm
from ssl_sbir.grouped import class_means
from ssl_sbir.studies.curves import DRAWS, Resamples, area, counts, middle, positions, reached
from ssl_sbir.studies.labels import LabelStudy
from ssl_sbir.studies.points import Measured, Point, Series


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; ∞ stands for "not within the labels studied"."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Saving:
    """How many labels a curve needs for what the reference reaches with some.

    Attributes:
        series: the curve.
        amount: of the reference's labels.
        labels: how many these are.
        target: the accuracy they bring.
        needed: labels that the curve needs for it.
        saved: labels less; negative where it needs more.
        reached: share of draws in which the curve comes up to it.
    """

    series: Series
    amount: str
    labels: float
    target: float
    needed: Estimate
    saved: Estimate
    reached: float


@dataclass(frozen=True)
class ClassGain:
    """An unseen class: the accuracy of a curve's first and last point."""

    name: str
    first: float
    last: float

    @property
    def gain(self) -> float:
        """What labels add to it."""
        return self.last - self.first


class Findings:
    """Everything the report says, computed from the values of each sketch in each run."""

    def __init__(self, asked: LabelStudy, found: Measured, draws: int = DRAWS) -> None:
        self.asked, self.found = asked, found
        self.resamples = Resamples.of(asked.seeds, len(found.query_labels), draws)
        self.drawn = {
            series: torch.stack([self.resamples.means(p.values, p.there) for p in self.points(series)], 1)
            for series in found.curves
            if self.points(series)
        }

    def points(self, series: Series) -> list[Point]:
        """The points of a curve that have a place and a value."""
        return [p for p in self.found.curves[series] if p.labels is not None and bool(p.there.any())]

    @cached_property
    def series(self) -> list[Series]:
        """Curves with at least one point, the reference first."""
        return sorted(self.drawn, key=lambda one: one.start != self.asked.reference)

    @property
    def reference(self) -> Series:
        """The curve that the others are compared with."""
        return self.series[0]

    @cached_property
    def first(self) -> float:
        """The smallest positive number of labels: where the axis turns logarithmic."""
        positive = [p.labels for one in self.series for p in self.points(one) if p.labels]
        return min(positive, default=1.0)

    def estimate(self, series: Series, place: int) -> Estimate:
        """The accuracy of a point."""
        return Estimate(self.points(series)[place].mean, *middle(self.drawn[series][:, place]))

    def area(self, series: Series) -> Estimate:
        """The mean accuracy over the part of the axis that a curve covers."""
        places, means = self._places(series), self._means(series)
        return Estimate(float(area(places, means)), *middle(area(places, self.drawn[series])))

    @cached_property
    def savings(self) -> list[Saving]:
        """For each curve but the reference, and each amount of the reference's labels."""
        points = self.points(self.reference)
        others = [one for one in self.series if one != self.reference]
        return [
            self._saving(one, place, point)
            for one in others
            for place, point in enumerate(points)
            if point.labels
        ]

    def final(self, series: Series) -> Saving | None:
        """What a curve saves at the accuracy that the reference reaches with all its labels."""
        mine = [saving for saving in self.savings if saving.series == series]
        return max(mine, key=lambda saving: saving.labels, default=None)

    @cached_property
    def tests(self) -> list[Difference]:
        """Paired tests against the reference, with as many labels and with all of its labels; corrected together."""
        points = self.points(self.reference)
        pairs = list[tuple[Scored, Scored]]()
        for series in self.series[1:]:
            for point in self.points(series):
                same = [other for other in points if other.amount == point.amount]
                against = same + [other for other in points[-1:] if other not in same and point.labels]
                pairs += [
                    (self._scored(self.reference, other), self._scored(series, point)) for other in against
                ]
        found = [compare(pair, [self.asked.column])[0] for pair in pairs]
        return [replace(one, p_holm=p) for one, p in zip(found, holm([one.p for one in found]), strict=True)]

    def classes(self, series: Series) -> list[ClassGain]:
        """The unseen classes, by what labels add to them."""
        points = self.points(series)
        first, last = (self._by_class(point) for point in (points[0], points[-1]))
        labels = self.found.query_labels.unique().tolist()
        gains = [ClassGain(self.found.names[c], a, b) for c, a, b in zip(labels, first, last, strict=True)]
        return sorted(gains, key=lambda one: -one.gain)

    def dips(self, series: Series) -> int:
        """How many times more labels brought less accuracy."""
        return sum(b < a for a, b in pairwise(self._means(series)[0].tolist()))

    def _saving(self, series: Series, place: int, point: Point) -> Saving:
        assert point.labels is not None
        places, total = self._places(series), point.labels
        aim = torch.tensor([point.mean], dtype=torch.float64)
        best = counts(reached(places, self._means(series), aim), self.first)
        draws = counts(reached(places, self.drawn[series], self.drawn[self.reference][:, place]), self.first)
        low, high = middle(draws)
        return Saving(
            series=series,
            amount=point.amount,
            labels=total,
            target=point.mean,
            needed=Estimate(float(best), low, high),
            saved=Estimate(*(round(total - needed, 9) + 0.0 for needed in (float(best), high, low))),
            reached=float(draws.isfinite().double().mean()),
        )

    def _places(self, series: Series) -> Float[Tensor, " p"]:
        labels = torch.tensor([point.labels for point in self.points(series)], dtype=torch.float64)
        return positions(labels, self.first)

    def _means(self, series: Series) -> Float[Tensor, "1 p"]:
        return torch.tensor([[point.mean for point in self.points(series)]], dtype=torch.float64)

    def _scored(self, series: Series, point: Point) -> Scored:
        """A point as the comparison takes it: the mean over its seeds for each sketch."""
        name = f"{series.name(self.asked)} · {told(point.amount)}"
        values = {self.asked.column: point.values[point.there].mean(0)}
        return replace(self.found.scored, name=name, values=values)

    def _by_class(self, point: Point) -> list[float]:
        values = point.values[point.there].double().mean(0)
        return class_means(values[:, None], self.found.query_labels)[1][:, 0].tolist()


def told(amount: str) -> str:
    """An amount of labels in words."""
    plain = {"0": "no label", "all": "all labels"}
    return plain.get(amount, f"{amount.replace('-per-class', ' per class and domain')}")
