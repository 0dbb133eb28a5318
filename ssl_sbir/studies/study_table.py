"""The table of a study: one row per cell, finished or failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_sbir.reports.tables import csv_text
from ssl_sbir.run import RunFolder
from ssl_sbir.studies.study_cell import StudyCell


@dataclass(frozen=True)
class StudyRow:
    """One cell and its result.

    Attributes:
        cell: the cell.
        run: its run folder.
        cause: why it failed; empty if it didn't.
        seconds: duration of all attempts that weren't interrupted.
        metrics: micro means by "<protocol> <metric>"; empty if it failed.
        labels: numbers of sketch labels, photo labels and classes that training read.
    """

    cell: StudyCell
    run: Path
    cause: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Whether it has no result."""
        return bool(self.cause)

    def to_columns(self) -> dict[str, Any]:
        """The row's values by column."""
        cell = self.cell
        amount = cell.labels if cell.trained else None
        settings = {
            "recipe": cell.recipe,
            "start": cell.start,
            "labels": amount.amount if amount else "0",
            "label_domains": amount.domains if amount else "none",
            "label_classes": (amount.classes or "all") if amount else "0",
            "choice": cell.choice or "",
            "seed": cell.seed,
            "split": cell.split or "",
            "preset": cell.preset or "",
            "settings": " ".join(cell.settings),
            "centre": cell.centre,
        }
        counts = {f"labelled_{name}": count for name, count in self.labels.items()}
        result = {
            "status": "failed" if self.has_failed else "done",
            "cause": self.cause,
            "run": str(self.run),
        }
        return {
            **settings,
            **cell.axes,
            **counts,
            **result,
            "seconds": round(self.seconds, 1),
            **self.metrics,
        }


@dataclass(frozen=True)
class StudyTable:
    """The rows of a study, in the order of its cells."""

    rows: Sequence[StudyRow]

    def to_records(self) -> list[dict[str, Any]]:
        """One dictionary per row, all with the same keys; None for a missing value."""
        rows = [row.to_columns() for row in self.rows]
        names = list(dict.fromkeys(name for columns in rows for name in columns))
        return [{name: columns.get(name) for name in names} for columns in rows]

    def to_csv(self) -> str:
        """The table as CSV."""
        return csv_text(self.to_records())


def build_study_row(cell: StudyCell, run: Path, cause: str, seconds: float) -> StudyRow:
    """The row of a cell that has ended.

    Raises:
        RunError: the run folder is damaged.
    """
    results = sorted(run.glob("evaluate/*/results.json"))
    if cause or not results:
        return StudyRow(cell, run, cause or "its evaluation is missing", seconds)
    facts = json.loads(results[0].read_text("utf-8"))
    metrics = {
        f"{protocol} {metric}": value
        for protocol, found in facts["protocols"].items()
        for metric, value in found.items()
        if isinstance(value, float)
    }
    return StudyRow(cell, run, "", seconds, metrics, _read_label_counts(RunFolder(run)))


def _read_label_counts(run: RunFolder) -> dict[str, int]:
    labels = run.provenance["labels"] or {"count": {"sketch": 0, "photo": 0}, "classes": 0}
    return {**labels["count"], "classes": labels["classes"]}
