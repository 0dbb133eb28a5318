"""The process that makes cells, one after another: `python -m ssl_sbir.studies.worker`, spoken to by `Worker`.

A line of JSON comes in for each cell and one goes out. Loading torch takes longer than many a small cell, so a
process serves until it dies; what dies with it is the cell it was at, and nothing else.
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
from ssl_sbir.evaluation.evaluated_encoder import EvaluationSettings, evaluate_run
from ssl_sbir.memory import keep_freed_memory
from ssl_sbir.run import PROVENANCE_FILE, RunFolder
from ssl_sbir.studies.label_order_file import write_label_order
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.training.pipeline import export_untrained, train

OUT_OF_MEMORY = "ran out of memory"


def train_and_evaluate_cell(cell: StudyCell, folder: Path) -> None:
    """Trains and evaluates a cell, from where an earlier attempt broke off.

    Raises:
        SslSbirError: as `enter_training_mode` and `evaluated` do.
    """
    begun = (folder / PROVENANCE_FILE).is_file()
    if not (begun and RunFolder(folder).is_finished):
        write_label_order(cell, folder)
        begin = train if cell.trained else export_untrained
        begin(cell.training_request(folder, resume=begun), cell.stage, _print_log_line)
    if not any(folder.glob("evaluate/*/results.json")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        how = EvaluationSettings(protocols=cell.protocols, centre=cell.centre, device=device)
        evaluate_run(str(folder), cell.data, cell.split, how)


def find_failure_cause(cell: StudyCell, folder: Path) -> str:
    """Makes a cell; returns why that failed, or nothing."""
    try:
        train_and_evaluate_cell(cell, folder)
    except SslSbirError as error:
        return error.message
    except (MemoryError, torch.OutOfMemoryError):
        return OUT_OF_MEMORY
    except Exception as error:  # whatever it is, the other cells go on
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    """Serves until the other end closes; should the study be killed, nothing goes on behind its back."""
    keep_freed_memory()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    asked: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_requests, args=(asked,), daemon=True).start()
    while True:
        request = asked.get()
        folder = Path(request["folder"])
        _redirect_output_to(Path(request["log"]))
        cell = StudyCell.from_facts(request["cell"])
        sys.argv[1:] = cell.command_arguments(
            folder
        )  # a run's provenance names the command that makes it by hand
        cause = find_failure_cause(cell, folder)
        if cause:
            _print_log_line(f"failed: {cause}")
        answers.write(json.dumps({"cause": cause}) + "\n")
        answers.flush()


def _read_requests(asked: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        asked.put(json.loads(line))
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
