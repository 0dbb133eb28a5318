"""From the table of a label study to its curves' points, each with the value of every sketch in every seed's run."""

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

_SAME_IMAGES_HINT = "Every start must see the same images at a size at which all can be read."


@dataclass(frozen=True)
class CurveSeries:
    """What one curve is about.

    Attributes:
        start: as in the study.
        domains: whose labels.
        choice: how they are chosen.
        classes: number of labelled classes, where that isn't what the curve runs over.
    """

    start: str
    domains: str
    choice: str
    classes: str

    def describe_series(self, study: LabelStudy) -> str:
        """In words; says only what the study varies."""
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
    """One amount of labels of a curve.

    Attributes:
        amount: as it was asked for.
        labels: how many that is; None where no run says so.
        values: of each seed's run and each sketch; 0 where there is no run.
        has_run: which seeds have a run.
        failure_causes: causes, by seed.
    """

    amount: str
    labels: float | None
    values: Float[Tensor, "s q"]
    has_run: Bool[Tensor, " s"]
    failure_causes: dict[int, str]

    @property
    def mean_accuracy(self) -> float:
        """Over sketches and the seeds there are."""
        return float(self.values[self.has_run].double().mean())


@dataclass(frozen=True)
class StudyCurves:
    """All curves of a study.

    Attributes:
        points_by_series: points by series, in the order of their labels; points that failed altogether among them.
        evaluation: the evaluation of one run, for what all of them share: classes, split, counts.
        query_labels: class of each sketch.
        class_names: of the unseen classes, by label.
        image_sizes: sides of the images in pixels that the runs of a start were evaluated at, by start.
    """

    points_by_series: dict[CurveSeries, list[LabelCurvePoint]]
    evaluation: RunScores
    query_labels: Int[Tensor, " q"]
    class_names: dict[int, str]
    image_sizes: dict[str, set[int]]


def compute_study_curves(study: LabelStudy, table: StudyTable) -> StudyCurves:
    """The curves of a study.

    Raises:
        EvaluationError: no run has a result, or the metric isn't among the results.
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
    told = zip(one.labels.unique().tolist(), one.facts["classes"], strict=True)
    names = {label: facts["name"] for label, facts in told}
    found = restrict_to_common_queries(found, study.metric_column)  # of a class every sketch may be left out
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


def _list_series(asked: LabelStudy, table: StudyTable) -> list[CurveSeries]:
    """The curves there are: as many as trained rows differ in more than amount and seed."""
    found = [_series_of_row(row, asked) for row in table.rows if row.cell.trained]
    return list(dict.fromkeys(found)) or [
        CurveSeries(start, "both", STRATIFIED_CHOICE, "all") for start in asked.starts
    ]


def _series_of_row(row: StudyRow, asked: LabelStudy) -> CurveSeries:
    labels = row.cell.labels
    classes = labels.classes or "all"
    over_classes = len(asked.amounts_of_labels) == 1
    # All labels are chosen in no way: they belong to each curve, and say the first one's.
    choice = asked.choices[0] if labels.amount == "all" else row.cell.choice or STRATIFIED_CHOICE
    return CurveSeries(row.cell.start, labels.domains, choice, "all" if over_classes else classes)


def _belongs_to_series(row: StudyRow, series: CurveSeries, asked: LabelStudy) -> bool:
    """Whether a row is a point of a curve; the start itself and all labels are points of each that has its start."""
    if row.cell.start != series.start:
        return False
    if not row.cell.trained:
        return True
    mine = _series_of_row(row, asked)
    if row.cell.labels.amount == "all":
        return (mine.domains, mine.classes) == (series.domains, series.classes)
    return mine == series


def _build_curve_points(
    asked: LabelStudy, rows: Sequence[StudyRow], values: dict[Path, Tensor], table: StudyTable
) -> list[LabelCurvePoint]:
    groups: dict[tuple[str, str], list[StudyRow]] = {}
    for row in rows:
        cell = row.cell
        key = (cell.labels.amount, cell.labels.classes or "all") if cell.trained else ("0", "all")
        groups.setdefault(key, []).append(row)
    points = [_build_curve_point(key, group, values, asked, table) for key, group in groups.items()]
    return sorted(points, key=lambda point: torch.inf if point.labels is None else point.labels)


def _build_curve_point(
    key: tuple[str, str],
    rows: Sequence[StudyRow],
    values: dict[Path, Tensor],
    asked: LabelStudy,
    table: StudyTable,
) -> LabelCurvePoint:
    amount, classes = key
    width = len(next(iter(values.values())))
    found = torch.zeros(asked.seeds, width, dtype=torch.float64)
    there = torch.zeros(asked.seeds, dtype=torch.bool)
    for row in rows:
        if row.has_failed:
            continue
        # A fixed start without training is one run that stands for all seeds.
        places = [row.cell.seed] if row.cell.trained or len(rows) > 1 else range(asked.seeds)
        for place in places:
            found[place], there[place] = values[row.run].double(), True
    counts = [sum(row.labels[d] for d in ("sketch", "photo")) for row in rows if not row.has_failed]
    labels = sum(counts) / len(counts) if counts else _estimate_label_count(rows[0], table)
    failed = {row.cell.seed: row.cause for row in rows if row.has_failed}
    told = amount if classes == "all" else f"{amount} of {classes} classes"
    return LabelCurvePoint(told, labels, found, there, failed)


def _estimate_label_count(row: StudyRow, table: StudyTable) -> float | None:
    """How many labels a run that failed would have read, from one with all labels of the same domains."""
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
