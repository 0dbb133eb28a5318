"""`index.json`, which says what an index holds, and the lock that keeps two writers apart."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from ssl_sbir.errors import GalleryError
from ssl_sbir.files import write_atomic
from ssl_sbir.retrieval.segments import DAMAGED, Segment

INDEX, LOCK, FORMAT = "index.json", "index.lock", 1
PATIENCE = 2.0  # seconds before waiting for another writer is announced


@contextmanager
def locked(folder: Path, wait: float) -> Iterator[None]:
    """Holds an index against other writers.

    Raises:
        GalleryError: another process holds it for longer than `wait` seconds.
    """
    lock = FileLock(folder / LOCK)
    try:
        _acquire(lock, folder, wait)
    except Timeout as error:
        raise GalleryError(
            f"{folder}: another process has been writing this index for {wait:g} s or more",
            "Wait for it to end, or write another index.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, folder: Path, wait: float) -> None:
    try:
        lock.acquire(timeout=min(wait, PATIENCE))
    except Timeout:
        if wait <= PATIENCE:
            raise
        print(f"waiting for another process that writes {folder}, up to {wait:g} s", file=sys.stderr)
        lock.acquire(timeout=wait - PATIENCE)


def write_index(
    folder: Path,
    engine: str,
    width: int,
    facts: dict[str, Any],
    segments: Sequence[Segment] = (),
    generation: int = 0,
) -> None:
    """Writes `index.json`, whole: from here on the index is what it names."""
    named = [{"name": it.name, "rows": len(it), "gone": it.gone_file} for it in segments]
    stated = {
        "format": FORMAT,
        "engine": engine,
        "width": width,
        "generation": generation,
        "facts": facts,
        "segments": named,
    }
    write_atomic(folder / INDEX, json.dumps(stated, indent=1, default=str) + "\n")


def read_index(folder: Path) -> dict[str, Any]:
    """What `index.json` says.

    Raises:
        GalleryError: there is no index, or it is damaged or of another format.
    """
    try:
        stated = json.loads((folder / INDEX).read_text("utf-8"))
        known = stated["format"]
        _ = stated["engine"], stated["width"], stated["facts"], stated["segments"], stated["generation"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GalleryError(
            f"no index at {folder}", "Make one: ssl-sbir index RUN FOLDER --out INDEX"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GalleryError(f"{folder / INDEX} can't be read: {error!r}", DAMAGED) from error
    if known != FORMAT:
        raise GalleryError(f"{folder} has index format {known}, this version reads {FORMAT}", DAMAGED)
    return stated
