"""The file that says in which order a start would have its training images labelled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ssl_sbir.data.labels import LabelBudget
from ssl_sbir.files import write_atomic
from ssl_sbir.retrieval.embeddings import embed
from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.choice import Order, choice
from ssl_sbir.training import starting_point


def write_order(cell: Cell, run: Path) -> None:
    """Writes the file by which the labels of a cell are chosen, unless none are chosen or it is there.

    Args:
        cell: which start, data, split, seed and way to choose.
        run: its run folder.

    Raises:
        SslSbirError: the way to choose is unknown, the start is unfinished, or data or split are wrong.
    """
    path = cell.budget(run).order
    if cell.choice is None or path is None or Path(path).is_file():
        return
    whole = replace(cell, labels=LabelBudget(), choice=None)
    write_atomic(Path(path), "".join(f"{key}\n" for key in _ordered(whole, choice(cell.choice))))


def _ordered(cell: Cell, find: Order) -> Iterator[str]:
    """The images' keys, most wanted first; each domain is ordered for itself, and labels are never read."""
    encoder, data = starting_point(cell.order(Path()), cell.stage)
    for rows in data.rows.values():
        features = embed(encoder, data.pack, data.manifest, rows)
        order = find(features, len(data.classes), cell.seed)
        yield from (data.manifest.keys[int(row)] for row in rows[order.numpy()])
