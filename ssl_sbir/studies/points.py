"""From the table of a label study to its curves' points, each with the value of every sketch in every seed's run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare import Scored, scored, taking_part
from ssl_sbir.studies.labels import STRATIFIED, LabelStudy
from ssl_sbir.studies.table import Row, Table

_OTHERS = "Every start must see the same images at a size at which all can be read."


@dataclass(frozen=True)
class Series:
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

    def name(self, asked: LabelStudy) -> str:
        """In words; says only what the study varies."""
        run = Path(self.start.removeprefix("run:").replace("{seed}", "")).name.rstrip("-_.")
        start = f"run {run}" if self.start.startswith("run:") else self.start
        more = [
            f"{self.domains} labels only" if len(asked.domains) > 1 and self.domains != "both" else "",
            self.choice if len(asked.choices) > 1 else "",
            f"{self.classes} classes" if self.classes != "all" else "",
        ]
        return ", ".join([start, *(text for text in more if text)])


@dataclass(frozen=True)
class Point:
    """One amount of labels of a curve.

    Attributes:
        amount: as it was asked for.
        labels: how many that is; None where no run says so.
        values: of each seed's run and each sketch; 0 where there is no run.
        there: which seeds have a run.
        failed: causes, by seed.
    """

    amount: str
    labels: float | None
    values: Float[Tensor, "s q"]
    there: Bool[Tensor, " s"]
    failed: dict[int, str]

    @property
    def mean(self) -> float:
        """Over sketches and the seeds there are."""
        return float(self.values[self.there].double().mean())


@dataclass(frozen=True)
class Measured:
    """All curves of a study.

    Attributes:
        curves: points by series, in the order of their labels; points that failed altogether among them.
        scored: the evaluation of one run, for what all of them share: classes, split, counts.
        query_labels: class of each sketch.
        names: of the unseen classes, by label.
        sizes: sides of the images in pixels that the runs of a start were evaluated at, by start.
    """

    curves: dict[Series, list[Point]]
    scored: Scored
    query_labels: Int[Tensor, " q"]
    names: dict[int, str]
    sizes: dict[str, set[int]]


def measured(asked: LabelStudy, table: Table) -> Measured:
    """The curves of a study.

    Raises:
        EvaluationError: no run has a result, or the metric isn't among the results.
    """
    done = [row for row in table.rows if not row.failed]
    if not done:
        causes = sorted({row.cause for row in table.rows})
        raise EvaluationError(f"no run of the study has a result: {'; '.join(causes[:3])}", "See its logs/.")
    found = {row.run: scored(row.run) for row in done}
    one = next(iter(found.values()))
    if asked.column not in one.values:
        raise EvaluationError(
            f"no '{asked.column}' in {done[0].run}", f"It has: {', '.join(sorted(one.values))}."
        )
    for run, each in found.items():
        if not torch.equal(each.labels, one.labels):
            raise EvaluationError(f"{run} was evaluated on other sketches than {done[0].run}", _OTHERS)
    told = zip(one.labels.unique().tolist(), one.facts["classes"], strict=True)
    names = {label: facts["name"] for label, facts in told}
    found = taking_part(found, asked.column)  # of a class every sketch may be left out
    one = found[done[0].run]
    values = {run: each.values[asked.column] for run, each in found.items()}
    curves = {
        series: _curve(asked, [row for row in table.rows if _belongs(row, series, asked)], values, table)
        for series in _series(asked, table)
    }
    sizes: dict[str, set[int]] = {}
    for row in done:
        sizes.setdefault(row.cell.start, set()).add(found[row.run].facts["size"])
    return Measured(curves, one, one.labels, names, sizes)


def _series(asked: LabelStudy, table: Table) -> list[Series]:
    """The curves there are: as many as trained rows differ in more than amount and seed."""
    found = [_of(row, asked) for row in table.rows if row.cell.trained]
    return list(dict.fromkeys(found)) or [Series(start, "both", STRATIFIED, "all") for start in asked.starts]


def _of(row: Row, asked: LabelStudy) -> Series:
    labels = row.cell.labels
    classes = labels.classes or "all"
    over_classes = len(asked.amounts_of_labels) == 1
    # All labels are chosen in no way: they belong to each curve, and say the first one's.
    choice = asked.choices[0] if labels.amount == "all" else row.cell.choice or STRATIFIED
    return Series(row.cell.start, labels.domains, choice, "all" if over_classes else classes)


def _belongs(row: Row, series: Series, asked: LabelStudy) -> bool:
    """Whether a row is a point of a curve; the start itself and all labels are points of each that has its start."""
    if row.cell.start != series.start:
        return False
    if not row.cell.trained:
        return True
    mine = _of(row, asked)
    if row.cell.labels.amount == "all":
        return (mine.domains, mine.classes) == (series.domains, series.classes)
    return mine == series


def _curve(asked: LabelStudy, rows: Sequence[Row], values: dict[Path, Tensor], table: Table) -> list[Point]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cell = row.cell
        key = (cell.labels.amount, cell.labels.classes or "all") if cell.trained else ("0", "all")
        groups.setdefault(key, []).append(row)
    points = [_point(key, group, values, asked, table) for key, group in groups.items()]
    return sorted(points, key=lambda point: torch.inf if point.labels is None else point.labels)


def _point(
    key: tuple[str, str], rows: Sequence[Row], values: dict[Path, Tensor], asked: LabelStudy, table: Table
) -> Point:
    amount, classes = key
    width = len(next(iter(values.values())))
    found = torch.zeros(asked.seeds, width, dtype=torch.float64)
    there = torch.zeros(asked.seeds, dtype=torch.bool)
    for row in rows:
        if row.failed:
            continue
        # A fixed start without training is one run that stands for all seeds.
        places = [row.cell.seed] if row.cell.trained or len(rows) > 1 else range(asked.seeds)
        for place in places:
            found[place], there[place] = values[row.run].double(), True
    counts = [sum(row.labels[d] for d in ("sketch", "photo")) for row in rows if not row.failed]
    labels = sum(counts) / len(counts) if counts else _guessed(rows[0], table)
    failed = {row.cell.seed: row.cause for row in rows if row.failed}
    told = amount if classes == "all" else f"{amount} of {classes} classes"
    return Point(told, labels, found, there, failed)


def _guessed(row: Row, table: Table) -> float | None:
    """How many labels a run that failed would have read, from one with all labels of the same domains."""
    if not row.cell.trained:
        return 0.0
    amount, same = row.cell.labels.amount, row.cell.labels.domains
    for other in table.rows:
        whole = other.cell.trained and other.cell.labels.amount == "all" and other.cell.labels.domains == same
        if whole and not other.failed and other.cell.labels.classes == row.cell.labels.classes:
            count = float(other.labels["sketch"] + other.labels["photo"])
            if amount.endswith("%"):
                return count * float(amount[:-1]) / 100
            return count if amount == "all" else None
    return None
