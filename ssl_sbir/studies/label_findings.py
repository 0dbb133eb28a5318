"""The findings of a label study: curves with intervals, labels saved, areas, paired tests, gains of classes."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.evaluation.compare_runs import Difference, RunScores, compare_runs, holm_correction
from ssl_sbir.group_means import class_means
from ssl_sbir.studies.curve_points import CurveSeries, LabelCurvePoint, StudyCurves
from ssl_sbir.studies.label_curves import (
    CURVE_BOOTSTRAP_DRAWS,
    BootstrapResamples,
    area_under_curve,
    axis_positions,
    first_crossing,
    label_counts,
    percentile_interval,
)
from ssl_sbir.studies.label_study import LabelStudy


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; ∞ stands for "not within the labels studied"."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelSaving:
    """How many labels a curve needs for the accuracy that the reference reaches with a given amount.

    Attributes:
        series: the curve.
        amount: of the reference's labels.
        labels: how many labels that is.
        target: the accuracy that the reference reaches with them.
        needed_labels: labels that the curve needs for it.
        saved_labels: the difference; negative if the curve needs more.
        reached_share: share of bootstrap draws in which the curve reaches it.
    """

    series: CurveSeries
    amount: str
    labels: float
    target: float
    needed_labels: Estimate
    saved_labels: Estimate
    reached_share: float


@dataclass(frozen=True)
class ClassGain:
    """The accuracy of an unseen class at a curve's first and last point."""

    name: str
    first: float
    last: float

    @property
    def gain(self) -> float:
        """The difference between the last and the first point."""
        return self.last - self.first


class LabelFindings:
    """All findings of the report, computed from the values of each sketch in each run."""

    def __init__(self, study: LabelStudy, curves: StudyCurves, draws: int = CURVE_BOOTSTRAP_DRAWS) -> None:
        self.study, self.curves = study, curves
        self.resamples = BootstrapResamples.from_counts(study.seeds, len(curves.query_labels), draws)
        self.resampled_means = {
            series: torch.stack(
                [self.resamples.resample_means(p.values, p.has_run) for p in self.curve_points(series)], 1
            )
            for series in curves.points_by_series
            if self.curve_points(series)
        }

    def curve_points(self, series: CurveSeries) -> list[LabelCurvePoint]:
        """The points of a curve that have a number of labels and a run."""
        return [
            p for p in self.curves.points_by_series[series] if p.labels is not None and bool(p.has_run.any())
        ]

    @cached_property
    def ordered_series(self) -> list[CurveSeries]:
        """The curves with at least one point, the reference first."""
        return sorted(self.resampled_means, key=lambda one: one.start != self.study.reference_start)

    @property
    def reference_series(self) -> CurveSeries:
        """The curve with which the others are compared."""
        return self.ordered_series[0]

    @cached_property
    def smallest_label_count(self) -> float:
        """The smallest positive number of labels, where the axis becomes logarithmic."""
        positive = [p.labels for one in self.ordered_series for p in self.curve_points(one) if p.labels]
        return min(positive, default=1.0)

    def estimate_accuracy(self, series: CurveSeries, index: int) -> Estimate:
        """The accuracy at a point."""
        return Estimate(
            self.curve_points(series)[index].mean_accuracy,
            *percentile_interval(self.resampled_means[series][:, index]),
        )

    def estimate_area(self, series: CurveSeries) -> Estimate:
        """The mean accuracy over the part of the axis that a curve covers."""
        positions = self._point_positions(series)
        return Estimate(
            float(area_under_curve(positions, self._point_means(series))),
            *percentile_interval(area_under_curve(positions, self.resampled_means[series])),
        )

    @cached_property
    def label_savings(self) -> list[LabelSaving]:
        """The savings of each other curve, for each amount of the reference's labels."""
        points = self.curve_points(self.reference_series)
        others = [one for one in self.ordered_series if one != self.reference_series]
        return [
            self._compute_saving(one, index, point)
            for one in others
            for index, point in enumerate(points)
            if point.labels
        ]

    def final_saving(self, series: CurveSeries) -> LabelSaving | None:
        """A curve's saving at the accuracy that the reference reaches with its largest number of labels."""
        savings = [saving for saving in self.label_savings if saving.series == series]
        return max(savings, key=lambda saving: saving.labels, default=None)

    @cached_property
    def paired_tests(self) -> list[Difference]:
        """Paired tests against the reference with as many labels, and with its most labels; corrected together."""
        points = self.curve_points(self.reference_series)
        pairs = list[tuple[RunScores, RunScores]]()
        for series in self.ordered_series[1:]:
            for point in self.curve_points(series):
                same = [other for other in points if other.amount == point.amount]
                against = same + [other for other in points[-1:] if other not in same and point.labels]
                pairs += [
                    (
                        self._point_as_scored(self.reference_series, other),
                        self._point_as_scored(series, point),
                    )
                    for other in against
                ]
        found = [compare_runs(pair, [self.study.metric_column])[0] for pair in pairs]
        return [
            replace(one, p_holm=p)
            for one, p in zip(found, holm_correction([one.p for one in found]), strict=True)
        ]

    def class_gains(self, series: CurveSeries) -> list[ClassGain]:
        """The unseen classes, largest gain first."""
        points = self.curve_points(series)
        first, last = (self._class_accuracies(point) for point in (points[0], points[-1]))
        labels = self.curves.query_labels.unique().tolist()
        gains = [
            ClassGain(self.curves.class_names[c], a, b) for c, a, b in zip(labels, first, last, strict=True)
        ]
        return sorted(gains, key=lambda one: -one.gain)

    def count_dips(self, series: CurveSeries) -> int:
        """How often the next larger number of labels has a lower accuracy."""
        return sum(b < a for a, b in pairwise(self._point_means(series)[0].tolist()))

    def _compute_saving(self, series: CurveSeries, index: int, point: LabelCurvePoint) -> LabelSaving:
        assert point.labels is not None
        positions, total = self._point_positions(series), point.labels
        target = torch.tensor([point.mean_accuracy], dtype=torch.float64)
        target_draws = self.resampled_means[self.reference_series][:, index]
        best, draws = (
            label_counts(first_crossing(positions, means, aim), self.smallest_label_count)
            for means, aim in (
                (self._point_means(series), target),
                (self.resampled_means[series], target_draws),
            )
        )
        low, high = percentile_interval(draws)
        return LabelSaving(
            series=series,
            amount=point.amount,
            labels=total,
            target=point.mean_accuracy,
            needed_labels=Estimate(float(best), low, high),
            saved_labels=Estimate(*(round(total - needed, 9) + 0.0 for needed in (float(best), high, low))),
            reached_share=float(draws.isfinite().double().mean()),
        )

    def _point_positions(self, series: CurveSeries) -> Float[Tensor, " p"]:
        labels = torch.tensor([point.labels for point in self.curve_points(series)], dtype=torch.float64)
        return axis_positions(labels, self.smallest_label_count)

    def _point_means(self, series: CurveSeries) -> Float[Tensor, "1 p"]:
        return torch.tensor(
            [[point.mean_accuracy for point in self.curve_points(series)]], dtype=torch.float64
        )

    def _point_as_scored(self, series: CurveSeries, point: LabelCurvePoint) -> RunScores:
        """A point as one run's scores: the mean over its seeds for each sketch."""
        name = f"{series.describe_series(self.study)} · {describe_label_amount(point.amount)}"
        values = {self.study.metric_column: point.values[point.has_run].mean(0)}
        return replace(self.curves.evaluation, name=name, values=values)

    def _class_accuracies(self, point: LabelCurvePoint) -> list[float]:
        values = point.values[point.has_run].double().mean(0)
        return class_means(values[:, None], self.curves.query_labels)[1][:, 0].tolist()


def describe_label_amount(amount: str) -> str:
    """An amount of labels in words."""
    plain = {"0": "no label", "all": "all labels"}
    return plain.get(amount, f"{amount.replace('-per-class', ' per class and domain')}")
