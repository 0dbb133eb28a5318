"""Which queries of an evaluation are worth explaining: the worst, the best, and some by chance."""

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
        kind: why it was chosen: `worst`, `best_indices`, `random`, or empty where the user asked.
        average_precision: its average precision, if it was evaluated.
    """

    query: str
    kind: str = ""
    average_precision: float | None = None


def sample_evaluated_queries(
    evaluations: Path, manifest: Manifest, count: int, split: str | None, seed: int = 0
) -> list[ChosenQuery]:
    """The `count` worst, best and randomly drawn sketches of an evaluation, none twice.

    Args:
        evaluations: a run's folder of evaluations.
        manifest: the data that were evaluated.
        count: of each kind.
        split: name of the split whose evaluation to take; None for the only one.
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
    lot = np.random.default_rng(seed).permutation(rest)[:count]
    return [
        ChosenQuery(str(rows[place]), kind, float(values[place]))
        for kind, places in (("worst", worst), ("best", best), ("random", lot))
        for place in places.tolist()
    ]


def _evaluation_folder(evaluations: Path, split: str | None) -> Path:
    found = sorted(file.parent for file in evaluations.glob("*/ranking.safetensors"))
    named = [folder for folder in found if folder.name == split]
    if named or len(found) == 1:
        return (named or found)[0]
    if not found:
        raise ExplainError(f"no evaluation in {evaluations}", EVALUATE_FIRST_HINT)
    names = ", ".join(folder.name for folder in found)
    raise ExplainError(f"{len(found)} evaluations in {evaluations}: {names}", "Choose one with --split.")


def _read_ranking_columns(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "ranking.safetensors"
    try:
        columns = load_file(path)
        return {name: columns[name] for name in ("query_rows", AVERAGE_PRECISION_COLUMN)}
    except (OSError, SafetensorError, KeyError) as error:
        raise ExplainError(f"cannot read {path}: {error}", EVALUATE_FIRST_HINT) from error
