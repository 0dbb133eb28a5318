"""The file that says in which order a start would have its training images labelled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.files import write_atomic
from ssl_sbir.studies.label_choice import SelectionStrategy, find_selection_strategy
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.training.pipeline import load_starting_point


def write_label_order(cell: StudyCell, run: Path) -> None:
    """Writes the file by which the labels of a cell are chosen, unless none are chosen or it is there.

    Args:
        cell: which start, data, split, seed and way to choose.
        run: its run folder.

    Raises:
        SslSbirError: the way to choose is unknown, the start is unfinished, or data or split are wrong.
    """
    path = cell.label_budget(run).order
    if cell.choice is None or path is None or Path(path).is_file():
        return
    whole = replace(cell, labels=LabelBudget(), choice=None)
    write_atomic(
        Path(path),
        "".join(f"{key}\n" for key in _keys_in_label_order(whole, find_selection_strategy(cell.choice))),
    )


def _keys_in_label_order(cell: StudyCell, find: SelectionStrategy) -> Iterator[str]:
    """The images' keys, most wanted first; each domain is ordered for itself, and labels are never read."""
    encoder, data = load_starting_point(cell.training_request(Path()), cell.stage)
    for rows in data.rows.values():
        features = embed_rows(encoder, data.pack, data.manifest, rows)
        order = find(features, len(data.classes), cell.seed)
        yield from (data.manifest.keys[int(row)] for row in rows[order.numpy()])
