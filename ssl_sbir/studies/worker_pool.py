"""Worker processes from the study's side: each runs cells one after another, and is replaced if it dies."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ssl_sbir.studies.study_cell import StudyCell


class WorkerClosed(Exception):
    """The study stops; the current cell has not ended and can be resumed."""


class Worker:
    """A process that runs cells; started for the first cell, and again after it died."""

    def __init__(self, threads: int) -> None:
        self._threads = str(threads)
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    def run_cell(self, cell: StudyCell, folder: Path, log: Path) -> str:
        """Runs a cell in a run folder with its output in a log; returns the cause of a failure or an empty text.

        Raises:
            WorkerClosed: it was closed meanwhile.
        """
        process = self._running_process()
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"cell": cell.facts(), "folder": str(folder), "log": str(log)}
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        if answer:
            return json.loads(answer)["cause"]
        code, self._process = _wait_and_close_pipes(process), None
        if self._closed:
            raise WorkerClosed
        return _describe_exit(code, log)

    def close(self) -> None:
        """Kills the process."""
        self._closed, process = True, self._process
        if process is not None:
            process.kill()
            _wait_and_close_pipes(process)

    def _running_process(self) -> "subprocess.Popen[str]":
        if self._closed:
            raise WorkerClosed
        if self._process is None:
            threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), self._threads)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ssl_sbir.studies.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **threads},
                start_new_session=True,  # Ctrl+C reaches only the study, which then kills its workers
            )
        return self._process


def _wait_and_close_pipes(process: "subprocess.Popen[str]") -> int:
    """Waits for a process to end, closes its pipes and returns its exit code."""
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    return code


def threads_per_worker(jobs: int) -> int:
    """The number of threads of each worker: this process's threads divided by the number of workers."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(setting) if setting.isdecimal() else cores
    return max(1, threads // jobs)


def _describe_exit(code: int, log: Path) -> str:
    """The cause of an exit without an answer."""
    if code < 0:
        name = signal.Signals(-code).name
        likely = ": most likely the machine ran out of memory" if name == "SIGKILL" else ""
        return f"killed by {name}{likely}"
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
    return f"the process ended with code {code}" + (f": {lines[-1]}" if lines else "")
