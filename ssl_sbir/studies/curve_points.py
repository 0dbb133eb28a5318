"""The points of a label study's curves, from its table: the accuracy of each sketch in each seed's run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare_runs import RunScores, load_run_scores, restrict_to_common_queries
from ssl_sbir.studies.label_study import STRATIFIED_CHOICE, LabelStudy
from ssl_sbir.studies.study_table import StudyRow, StudyTable

_SAME_IMAGES_HINT = "All starts must be evaluated on the same images, at a size at which all can be read."


@dataclass(frozen=True)
class CurveSeries:
    """What one curve shows.

    Attributes:
        start: as in the study.
        domains: whose labels.
        choice: how they are chosen.
        classes: number of labelled classes, unless that is the curve's axis.
    """

    start: str
    domains: str
    choice: str
    classes: str

    def describe_series(self, study: LabelStudy) -> str:
        """The curve in words; only what the study varies."""
        run = Path(self.start.removeprefix("run:").replace("{seed}", "")).name.rstrip("-_.")
        start = f"run {run}" if self.start.startswith("run:") else self.start
        more = [
            f"{self.domains} labels only" if len(study.domains) > 1 and self.domains != "both" else "",
            self.choice if len(study.choices) > 1 else "",
            f"{self.classes} classes" if self.classes != "all" else "",
        ]
        return ", ".join([start, *(text for text in more if text)])


@dataclass(frozen=True)
class LabelCurvePoint:
    """The runs of a curve with one amount of labels.

    Attributes:
        amount: as given in the study.
        labels: how many labels that is; None if no run says so.
        values: of each seed's run and each sketch; 0 for a seed without a run.
        has_run: which seeds have a run.
        failure_causes: by seed.
    """

    amount: str
    labels: float | None
    values: Float[Tensor, "s q"]
    has_run: Bool[Tensor, " s"]
    failure_causes: dict[int, str]

    @property
    def mean_accuracy(self) -> float:
        """The mean over sketches and the seeds that have a run."""
        return float(self.values[self.has_run].double().mean())


@dataclass(frozen=True)
class StudyCurves:
    """All curves of a study.

    Attributes:
        points_by_series: points in the order of their labels, including those without any run.
        evaluation: of one run, for what all runs share: classes, split, counts.
        query_labels: class of each sketch.
        class_names: of the unseen classes, by label.
        image_sizes: sides in pixels of the images that the runs of each start were evaluated at.
    """

    points_by_series: dict[CurveSeries, list[LabelCurvePoint]]
    evaluation: RunScores
    query_labels: Int[Tensor, " q"]
    class_names: dict[int, str]
    image_sizes: dict[str, set[int]]


def compute_study_curves(study: LabelStudy, table: StudyTable) -> StudyCurves:
    """The curves of a study.

    Raises:
        EvaluationError: no run has a result, or the results lack the metric.
    """
    done = [row for row in table.rows if not row.has_failed]
    if not done:
        causes = sorted({row.cause for row in table.rows})
        raise EvaluationError(f"no run of the study has a result: {'; '.join(causes[:3])}", "See its logs/.")
    found = {row.run: load_run_scores(row.run) for row in done}
    one = next(iter(found.values()))
    if study.metric_column not in one.values:
        raise EvaluationError(
            f"no '{study.metric_column}' in {done[0].run}", f"It has: {', '.join(sorted(one.values))}."
        )
    for run, each in found.items():
        if not torch.equal(each.labels, one.labels):
            raise EvaluationError(
                f"{run} was evaluated on other sketches than {done[0].run}", _SAME_IMAGES_HINT
            )
    classes = zip(one.labels.unique().tolist(), one.facts["classes"], strict=True)
    names = {label: facts["name"] for label, facts in classes}
    found = restrict_to_common_queries(found, study.metric_column)  # may leave out all sketches of a class
    one = found[done[0].run]
    values = {run: each.values[study.metric_column] for run, each in found.items()}
    curves = {
        series: _build_curve_points(
            study, [row for row in table.rows if _belongs_to_series(row, series, study)], values, table
        )
        for series in _list_series(study, table)
    }
    sizes: dict[str, set[int]] = {}
    for row in done:
        sizes.setdefault(row.cell.start, set()).add(found[row.run].facts["size"])
    return StudyCurves(curves, one, one.labels, names, sizes)


def _list_series(study: LabelStudy, table: StudyTable) -> list[CurveSeries]:
    """The curves: one for each combination of trained rows' properties other than amount and seed."""
    found = [_series_of_row(row, study) for row in table.rows if row.cell.trained]
    return list(dict.fromkeys(found)) or [
        CurveSeries(start, "both", STRATIFIED_CHOICE, "all") for start in study.starts
    ]


def _series_of_row(row: StudyRow, study: LabelStudy) -> CurveSeries:
    labels = row.cell.labels
    classes = labels.classes or "all"
    over_classes = len(study.amounts_of_labels) == 1
    # All labels need no choice: the row belongs to each curve, and is named after the first.
    choice = study.choices[0] if labels.amount == "all" else row.cell.choice or STRATIFIED_CHOICE
    return CurveSeries(row.cell.start, labels.domains, choice, "all" if over_classes else classes)


def _belongs_to_series(row: StudyRow, series: CurveSeries, study: LabelStudy) -> bool:
    """Whether a row is a point of a curve; the start itself and all labels are points of each curve of their start."""
    if row.cell.start != series.start:
        return False
    if not row.cell.trained:
        return True
    own = _series_of_row(row, study)
    if row.cell.labels.amount == "all":
        return (own.domains, own.classes) == (series.domains, series.classes)
    return own == series


def _build_curve_points(
    study: LabelStudy, rows: Sequence[StudyRow], values: dict[Path, Tensor], table: StudyTable
) -> list[LabelCurvePoint]:
    groups: dict[tuple[str, str], list[StudyRow]] = {}
    for row in rows:
        cell = row.cell
        key = (cell.labels.amount, cell.labels.classes or "all") if cell.trained else ("0", "all")
        groups.setdefault(key, []).append(row)
    points = [_build_curve_point(key, group, values, study, table) for key, group in groups.items()]
    return sorted(points, key=lambda point: torch.inf if point.labels is None else point.labels)


def _build_curve_point(
    key: tuple[str, str],
    rows: Sequence[StudyRow],
    values: dict[Path, Tensor],
    study: LabelStudy,
    table: StudyTable,
) -> LabelCurvePoint:
    amount, classes = key
    width = len(next(iter(values.values())))
    accuracies = torch.zeros(study.seeds, width, dtype=torch.float64)
    has_run = torch.zeros(study.seeds, dtype=torch.bool)
    for row in rows:
        if row.has_failed:
            continue
        # A fixed start without training is one run for all seeds.
        seeds = [row.cell.seed] if row.cell.trained or len(rows) > 1 else range(study.seeds)
        for seed in seeds:
            accuracies[seed], has_run[seed] = values[row.run].double(), True
    counts = [sum(row.labels[d] for d in ("sketch", "photo")) for row in rows if not row.has_failed]
    labels = sum(counts) / len(counts) if counts else _estimate_label_count(rows[0], table)
    failed = {row.cell.seed: row.cause for row in rows if row.has_failed}
    name = amount if classes == "all" else f"{amount} of {classes} classes"
    return LabelCurvePoint(name, labels, accuracies, has_run, failed)


def _estimate_label_count(row: StudyRow, table: StudyTable) -> float | None:
    """How many labels a failed run would have read, by a run with all labels of the same domains."""
    if not row.cell.trained:
        return 0.0
    amount, same = row.cell.labels.amount, row.cell.labels.domains
    for other in table.rows:
        whole = other.cell.trained and other.cell.labels.amount == "all" and other.cell.labels.domains == same
        if whole and not other.has_failed and other.cell.labels.classes == row.cell.labels.classes:
            count = float(other.labels["sketch"] + other.labels["photo"])
            if amount.endswith("%"):
                return count * float(amount[:-1]) / 100
            return count if amount == "all" else None
    return None
