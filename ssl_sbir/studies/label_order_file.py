"""The file with the order in which a selection strategy labels the training images."""

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
    """Writes the order in which a cell's images are labelled, if it has a strategy and the file doesn't exist yet.

    Args:
        cell: names start, data, split, seed and strategy.
        run: its run folder.

    Raises:
        SslSbirError: the strategy is unknown, the start is unfinished, or data or split are wrong.
    """
    path = cell.label_budget(run).order
    if cell.choice is None or path is None or Path(path).is_file():
        return
    whole = replace(cell, labels=LabelBudget(), choice=None)
    write_atomic(
        Path(path),
        "".join(f"{key}\n" for key in _keys_in_label_order(whole, find_selection_strategy(cell.choice))),
    )


def _keys_in_label_order(cell: StudyCell, strategy: SelectionStrategy) -> Iterator[str]:
    """The images' keys in the order of labelling, domain by domain; labels are never read."""
    encoder, data = load_starting_point(cell.training_request(Path()), cell.stage)
    for rows in data.rows.values():
        features = embed_rows(encoder, data.pack, data.manifest, rows)
        order = strategy(features, len(data.classes), cell.seed)
        yield from (data.manifest.keys[int(row)] for row in rows[order.numpy()])
