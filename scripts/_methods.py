"""Parts that the studies of methods share: tables with a method per line and a run per seed, and intervals."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_table import StudyRow

STUDY_METRIC = "standard mAP@all"


@dataclass(frozen=True)
class StudyMethod:
    """A line of a table.

    Attributes:
        name: on the command line.
        shows: the text of the line.
        recipe: of `ssl-sbir pretrain` or `ssl-sbir finetune`.
        settings: as `--set` takes them.
        centre: of the evaluation.
        trained: False for the untrained encoder.
        start: as in a study's cell.
        transductive: trained on the unseen classes' images as well, without labels.
    """

    name: str
    shows: str
    recipe: str
    settings: tuple[str, ...] = ()
    centre: str = "none"
    trained: bool = True
    start: str = "imagenet"
    transductive: bool = False

    def build_cell(self, data: str, split: str, seed: int) -> StudyCell:
        """One run of the method."""
        cell = StudyCell(
            self.recipe,
            data,
            start=self.start,
            seed=seed,
            split=split,
            settings=self.settings,
            centre=self.centre,
            transductive=self.transductive,
        )
        return replace(cell, trained=self.trained, axes={"method": self.name})


@dataclass(frozen=True)
class MethodTable:
    """A table of a page.

    Attributes:
        title: its heading.
        methods: its lines.
        splits: one table for each.
        settings: of all its runs.
        baseline: the method with which the others are compared, seed by seed; may be empty.
    """

    title: str
    methods: Sequence[StudyMethod]
    splits: Sequence[str]
    settings: tuple[str, ...] = ()
    baseline: str = ""

    def build_cells(self, data: str, seeds: int, only: Sequence[str] = ()) -> list[StudyCell]:
        """Its runs, seed by seed, so that an interrupted study has some runs of every method."""
        chosen = [m for m in self.methods if not only or not m.trained or m.name in only]
        return [
            replace(cell, settings=(*self.settings, *cell.settings), axes={**cell.axes, "part": self.title})
            for seed in range(seeds)
            for method in chosen
            for split in self.splits
            if method.trained or not seed or "{seed}" in method.start
            for cell in [method.build_cell(data, split, seed)]
        ]

    def rows_by_method(self, rows: Sequence[StudyRow], split: str) -> dict[str, list[StudyRow]]:
        """Its runs on a split by method; methods without runs are left out."""
        here = [r for r in rows if r.cell.axes["part"] == self.title and r.cell.split == split]
        found = {m.name: [row for row in here if row.cell.axes["method"] == m.name] for m in self.methods}
        return {name: runs for name, runs in found.items() if runs}


def describe_split(name: str, data: str) -> str:
    """The split of a table, for the page."""
    return f"split sha256 `{Split.from_name(name, open_data(data).classes).sha256[:16]}…`"


def format_outcome(rows: Sequence[StudyRow], metric: str = STUDY_METRIC) -> tuple[str, int]:
    """Mean and interval over the runs with a result, or the cause of the first failure; and the number of results."""
    values = [row.metrics[metric] for row in rows if not row.has_failed]
    return (format_student_interval(values) if values else f"failed: {rows[0].cause}"), len(values)


def format_difference(
    rows: Sequence[StudyRow], others: Sequence[StudyRow], metric: str = STUDY_METRIC
) -> str:
    """The mean difference to other runs with the same seeds, with its interval; an untrained run counts for all seeds.

    A dash if no seed has a result in both.
    """
    ours, theirs = ({r.cell.seed: r.metrics[metric] for r in of if not r.has_failed} for of in (rows, others))
    if not all(row.cell.trained for row in others):
        theirs = dict.fromkeys(ours, *theirs.values())
    both = sorted(ours.keys() & theirs.keys())
    found = format_student_interval([ours[seed] - theirs[seed] for seed in both]) if both else "–"
    return found if not both or found.startswith("-") else f"+{found}"


def format_mean_minutes(rows: Sequence[StudyRow]) -> str:
    """The mean duration of a run in minutes."""
    return f"{statistics.mean(row.seconds for row in rows) / 60:.0f}"


def format_student_interval(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± half width of Student's 95 % interval; of one value, the mean alone."""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        mean += f" ± {half:.{digits}f}"
    return mean.replace("0.", ".")


def read_audits(row: StudyRow) -> Mapping[str, Any]:
    """The results of the audits of a run's evaluation, by name."""
    (results,) = row.run.glob("evaluate/*/results.json")
    audits: Mapping[str, Any] = json.loads(results.read_text("utf-8"))["audits"]
    return audits


def read_written_notes(page: Path, heading: str) -> str:
    """The hand-written notes of an earlier page, from a heading on."""
    _, found, notes = page.read_text("utf-8").partition(heading) if page.is_file() else ("", "", "")
    return found + notes
