"""The process that runs cells one after another: `python -m ssl_sbir.studies.worker`, used by `Worker`.

It reads one line of JSON per cell and answers with one. Loading torch takes longer than a small cell, so the process
serves many cells; if it dies, only the current cell fails.
"""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from ssl_sbir.errors import SslSbirError
from ssl_sbir.evaluation.evaluate_run import EvaluationSettings, evaluate_run
from ssl_sbir.memory import keep_freed_memory
from ssl_sbir.run import PROVENANCE_FILE, RunFolder
from ssl_sbir.studies.label_order_file import write_label_order
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.training.pipeline import export_untrained, train

OUT_OF_MEMORY = "ran out of memory"


def train_and_evaluate_cell(cell: StudyCell, folder: Path) -> None:
    """Trains and evaluates a cell, resuming an interrupted attempt.

    Raises:
        SslSbirError: as `train` and `evaluate_run` do.
    """
    begun = (folder / PROVENANCE_FILE).is_file()
    if not (begun and RunFolder(folder).is_finished):
        write_label_order(cell, folder)
        run_stage = train if cell.trained else export_untrained
        run_stage(cell.training_request(folder, resume=begun), cell.stage, _print_log_line)
    if not any(folder.glob("evaluate/*/results.json")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        settings = EvaluationSettings(protocols=cell.protocols, centre=cell.centre, device=device)
        evaluate_run(str(folder), cell.data, cell.split, settings)


def find_failure_cause(cell: StudyCell, folder: Path) -> str:
    """Runs a cell, and returns the cause of a failure or an empty text."""
    try:
        train_and_evaluate_cell(cell, folder)
    except SslSbirError as error:
        return error.message
    except (MemoryError, torch.OutOfMemoryError):
        return OUT_OF_MEMORY
    except Exception as error:  # one failed cell doesn't stop the others
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    """Serves until the study closes the pipe or dies."""
    keep_freed_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        folder = Path(request["folder"])
        _redirect_output_to(Path(request["log"]))
        cell = StudyCell.from_facts(request["cell"])
        sys.argv[1:] = cell.command_arguments(folder)  # provenance records the command that repeats the run
        cause = find_failure_cause(cell, folder)
        if cause:
            _print_log_line(f"failed: {cause}")
        answers.write(json.dumps({"cause": cause}) + "\n")
        answers.flush()


def _read_requests(requests: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)


def _redirect_output_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _print_log_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
