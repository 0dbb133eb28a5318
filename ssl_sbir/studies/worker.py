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
from ssl_sbir.evaluation.subject import How, evaluated
from ssl_sbir.memory import keep_freed_memory
from ssl_sbir.run import PROVENANCE, RunFolder
from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.ordering import write_order
from ssl_sbir.training import train, untrained

OUT_OF_MEMORY = "ran out of memory"


def make(cell: Cell, folder: Path) -> None:
    """Trains and evaluates a cell, from where an earlier attempt broke off.

    Raises:
        SslSbirError: as `train` and `evaluated` do.
    """
    begun = (folder / PROVENANCE).is_file()
    if not (begun and RunFolder(folder).finished):
        write_order(cell, folder)
        begin = train if cell.trained else untrained
        begin(cell.order(folder, resume=begun), cell.stage, _log)
    if not any(folder.glob("evaluate/*/results.json")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        how = How(protocols=cell.protocols, centre=cell.centre, device=device)
        evaluated(str(folder), cell.data, cell.split, how)


def failure(cell: Cell, folder: Path) -> str:
    """Makes a cell; returns why that failed, or nothing."""
    try:
        make(cell, folder)
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
    threading.Thread(target=_read, args=(asked,), daemon=True).start()
    while True:
        request = asked.get()
        folder = Path(request["folder"])
        _log_to(Path(request["log"]))
        cell = Cell.of(request["cell"])
        sys.argv[1:] = cell.command(folder)  # a run's provenance names the command that makes it by hand
        cause = failure(cell, folder)
        if cause:
            _log(f"failed: {cause}")
        answers.write(json.dumps({"cause": cause}) + "\n")
        answers.flush()


def _read(asked: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        asked.put(json.loads(line))
    os._exit(0)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
