"""The queries of an evaluation to explain: the worst, the best, and a random sample."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.errors import ExplainError

AVERAGE_PRECISION_COLUMN = "value standard mAP@all"
EVALUATE_FIRST_HINT = "Evaluate first: ssl-sbir evaluate RUN --data DATA."


@dataclass(frozen=True)
class ChosenQuery:
    """One query to explain.

    Attributes:
        query: an image file, or a key or row number of the data.
        kind: why it was chosen: `worst`, `best` or `random`; empty if the user named it.
        average_precision: of its ranking; None if it wasn't evaluated.
    """

    query: str
    kind: str = ""
    average_precision: float | None = None


def sample_evaluated_queries(
    evaluations: Path, manifest: Manifest, count: int, split: str | None, seed: int = 0
) -> list[ChosenQuery]:
    """The `count` worst and best sketches of an evaluation and `count` random ones; no sketch occurs twice.

    Args:
        evaluations: a run's folder of evaluations.
        manifest: the data that were evaluated.
        count: of each kind.
        split: name of the split whose evaluation to take; None if there is only one.
        seed: of the random sample.

    Raises:
        ExplainError: there is no such evaluation, or it is of other data.
    """
    columns = _read_ranking_columns(_evaluation_folder(evaluations, split))
    rows, values = columns["query_rows"], columns[AVERAGE_PRECISION_COLUMN]
    known = np.flatnonzero(~np.isnan(values))
    if rows.max(initial=-1) >= len(manifest) or (manifest.domain[rows] != Domain.SKETCH).any():
        raise ExplainError(f"the evaluation is of other data than {manifest.name}", "Give the same --data.")
    order = known[np.argsort(values[known], kind="stable")]
    worst, best = order[:count], order[len(order) - min(count, max(len(order) - count, 0)) :][::-1]
    rest = np.setdiff1d(order, np.concatenate([worst, best]))
    sample = np.random.default_rng(seed).permutation(rest)[:count]
    return [
        ChosenQuery(str(rows[index]), kind, float(values[index]))
        for kind, indices in (("worst", worst), ("best", best), ("random", sample))
        for index in indices.tolist()
    ]


def _evaluation_folder(evaluations: Path, split: str | None) -> Path:
    folders = sorted(file.parent for file in evaluations.glob("*/ranking.safetensors"))
    named = [folder for folder in folders if folder.name == split]
    if named or len(folders) == 1:
        return (named or folders)[0]
    if not folders:
        raise ExplainError(f"no evaluation in {evaluations}", EVALUATE_FIRST_HINT)
    names = ", ".join(folder.name for folder in folders)
    raise ExplainError(f"{len(folders)} evaluations in {evaluations}: {names}", "Choose one with --split.")


def _read_ranking_columns(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "ranking.safetensors"
    try:
        columns = load_file(path)
        return {name: columns[name] for name in ("query_rows", AVERAGE_PRECISION_COLUMN)}
    except (OSError, SafetensorError, KeyError) as error:
        raise ExplainError(f"cannot read {path}: {error}", EVALUATE_FIRST_HINT) from error
