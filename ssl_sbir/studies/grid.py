"""A grid of ordinary runs in worker processes: finished runs are skipped, and failures are recorded.

    table = run_grid([StudyCell("sake", "folder:pets", seed=seed) for seed in range(3)], Path("runs/study"))

The study's folder holds `runs/NAME/` (ordinary run folders), `cells/NAME.json` (how each run ended), `logs/NAME.log`
and `table.csv`. NAME ends with the hash of the cell: a run with another setting, label or start has another name.
"""

import json
import queue
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import ConfigError, RunError
from ssl_sbir.files import make_folder, write_atomic
from ssl_sbir.progress import show_progress
from ssl_sbir.run import read_run_json
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_table import StudyRow, StudyTable, build_study_row
from ssl_sbir.studies.worker_pool import Worker, threads_per_worker


def run_grid(cells: Sequence[StudyCell], out: Path, jobs: int = 1, *, retry: bool = False) -> StudyTable:
    """Runs the cells that have not ended yet, and returns the table of all.

    A study that was interrupted is resumed, and so is training, from its last checkpoint.

    Args:
        cells: what to run; equal cells run once.
        out: folder of the study.
        jobs: number of runs at a time; threads are divided among them.
        retry: run cells again that are recorded as failed.

    Raises:
        ConfigError, DataError: `jobs` is 0, or a recipe, setting or data set is wrong.
        RunError: another process is running this study.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}", "Give 1 or more.")
    data = {name: open_data(name).sha256 for name in {cell.data for cell in cells}}
    entries = [_GridEntry.from_cell(cell, out, data[cell.data]) for cell in cells]
    make_folder(out)
    try:
        with FileLock(out / ".lock", timeout=0):
            _run_entries([entry for entry in _distinct_entries(entries) if not entry.has_ended(retry)], jobs)
    except Timeout as error:
        raise RunError(
            f"another process is running the study in {out}", "Wait for it, or choose another --out."
        ) from error
    table = StudyTable([entry.build_row() for entry in entries])
    write_atomic(out / "table.csv", table.to_csv())
    return table


@dataclass(frozen=True)
class _GridEntry:
    """A cell and its paths."""

    cell: StudyCell
    out: Path
    name: str

    @classmethod
    def from_cell(cls, cell: StudyCell, out: Path, data_sha256: str) -> "_GridEntry":
        amount = cell.labels.amount.replace("%", "pc") if cell.trained else "untrained"
        parts = (Path(cell.recipe).stem, _short_start_name(cell.start), amount, cell.choice, str(cell.seed))
        return cls(cell, out, "-".join([part for part in parts if part] + [cell.sha256(data_sha256)[:12]]))

    @property
    def run_folder(self) -> Path:
        return self.out / "runs" / self.name

    @property
    def record_path(self) -> Path:
        return self.out / "cells" / f"{self.name}.json"

    def has_ended(self, retry: bool) -> bool:
        return self.record_path.is_file() and not (retry and read_run_json(self.record_path)["cause"])

    def run_cell(self, worker: Worker) -> str:
        """Lets a worker run it, records how that ended, and returns the cause of a failure or an empty text."""
        begun, before = time.monotonic(), 0.0
        if self.record_path.is_file():
            before = read_run_json(self.record_path)["seconds"]
        cause = worker.run_cell(self.cell, self.run_folder, self.out / "logs" / f"{self.name}.log")
        facts = {"cause": cause, "seconds": before + time.monotonic() - begun}
        facts["command"] = ["ssl-sbir", *self.cell.command_arguments(self.run_folder)]
        write_atomic(self.record_path, json.dumps({**facts, "cell": self.cell.facts()}, indent=1) + "\n")
        return cause

    def build_row(self) -> StudyRow:
        facts = read_run_json(self.record_path)
        return build_study_row(self.cell, self.run_folder, facts["cause"], facts["seconds"])


def _short_start_name(start: str) -> str:
    name = Path(start.removeprefix("run:")).name
    return "".join(sign if sign.isalnum() else "_" for sign in name)[:24]


def _distinct_entries(entries: Sequence[_GridEntry]) -> list[_GridEntry]:
    return list({entry.name: entry for entry in entries}.values())


def _run_entries(entries: Sequence[_GridEntry], jobs: int) -> None:
    """Runs cells, `jobs` at a time; after an interruption, unfinished runs can be resumed."""
    jobs = min(jobs, len(entries))
    if not jobs:
        return
    workers = [Worker(threads_per_worker(jobs)) for _ in range(jobs)]
    free_workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        free_workers.put(worker)

    def run_with_free_worker(entry: _GridEntry) -> tuple[_GridEntry, str]:
        worker = free_workers.get()
        try:
            return entry, entry.run_cell(worker)
        finally:
            free_workers.put(worker)

    failed = 0
    with show_progress(len(entries), "study", "run") as counter, ThreadPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(run_with_free_worker, entry) for entry in entries]):
                entry, cause = future.result()
                failed += bool(cause)
                counter.advance(1, last=entry.name, failed=str(failed))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.close()
