"""Paired tests of whether two runs differ, over the same sketches."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.metrics.bootstrap import percentile_intervals, resampled_means
from ssl_sbir.evaluation.report.write_results import VALUE_COLUMN_PREFIX
from ssl_sbir.group_means import class_means

SIGN_FLIPS = 10_000
SIGNS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class RunScores:
    """The stored values of a run's evaluation.

    Attributes:
        name: the run.
        facts: its `results.json`.
        values: the value of each sketch, by "<protocol> <metric>".
        labels: [q] the class of each sketch.
    """

    name: str
    facts: dict[str, Any]
    values: dict[str, Float[Tensor, " q"]]
    labels: Int[Tensor, " q"]


def restrict_to_common_queries(scores_by_run: Mapping[Path, RunScores], column: str) -> dict[Path, RunScores]:
    """One column of evaluations of the same sketches, restricted to the sketches with a value in every run.

    A protocol may use only some sketches as queries: the others have no value, which is not 0.

    Raises:
        EvaluationError: no sketch has a value in every run.
    """
    common = torch.stack([scores.values[column].isfinite() for scores in scores_by_run.values()]).all(0)
    if not common.any():
        raise EvaluationError(f"no sketch has a value of '{column}' in every run", "Choose another metric.")
    return {
        run: replace(scores, values={column: scores.values[column][common]}, labels=scores.labels[common])
        for run, scores in scores_by_run.items()
    }


@dataclass(frozen=True)
class Difference:
    """The difference between two runs in one metric, over the same sketches.

    Attributes:
        first: a run.
        second: another run.
        metric: "<protocol> <metric>".
        means: of both runs.
        difference: mean of second − first.
        low: lower end of its 95 % bootstrap interval over sketches.
        high: upper end.
        p: of a two-sided sign-flip permutation test over sketches.
        p_holm: the same, corrected by Holm for the number of comparisons.
        p_classes: of the same test over class means, which doesn't assume that sketches of a class are independent.
        effect: Cohen's d of the paired differences (mean / standard deviation).
        better: share of sketches that gain; ties count one half.
        queries: number of sketches with a value in both runs.
    """

    first: str
    second: str
    metric: str
    means: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_classes: float
    effect: float | None
    better: float
    queries: int


def load_run_scores(path: Path, split: str | None = None) -> RunScores:
    """The evaluation in a run folder, or in the folder of an evaluation itself.

    Raises:
        EvaluationError: there is none, there are several, or it is damaged.
    """
    folder = _find_evaluation_folder(path, split)
    try:
        facts = json.loads((folder / "results.json").read_text("utf-8"))
        columns = load_file(folder / "ranking.safetensors")
        values = {
            name.removeprefix(VALUE_COLUMN_PREFIX): column
            for name, column in columns.items()
            if name.startswith(VALUE_COLUMN_PREFIX)
        }
        return RunScores(str(path), facts, values, columns["query_labels"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise EvaluationError(
            f"{folder}: the evaluation is incomplete: {error}",
            f"Evaluate again: ssl-sbir evaluate {path} --data …",
        ) from error


def compare_runs(runs: Sequence[RunScores], metrics: Sequence[str], seed: int = 0) -> list[Difference]:
    """The differences between all pairs of runs in some metrics, p-values corrected for their number.

    Raises:
        EvaluationError: fewer than two runs, different sketches or photos, or a metric that a run lacks.
    """
    if len(runs) < 2:
        raise EvaluationError("one run can't be compared", "Name two runs or more.")
    for run in runs[1:]:
        _check_same_images(runs[0], run)
    differences = [
        _compute_difference(one, other, metric, seed)
        for one, other in itertools.combinations(runs, 2)
        for metric in metrics
    ]
    corrected = holm_correction([one.p for one in differences])
    return [replace(one, p_holm=p) for one, p in zip(differences, corrected, strict=True)]


def holm_correction(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979)."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def sign_flip_p(differences: Float[Tensor, " q"], flips: int = SIGN_FLIPS, seed: int = 0) -> float:
    """The share of random sign changes whose mean is at least as far from 0 as the observed one, which counts too."""
    differences = differences.double()
    observed = differences.sum().abs() * (1 - 1e-12)
    generator, extreme = torch.Generator().manual_seed(seed), 1
    step = max(1, SIGNS_AT_ONCE // max(1, len(differences)))
    for start in range(0, flips, step):
        count = min(step, flips - start)
        signs = torch.randint(2, (count, len(differences)), generator=generator, dtype=torch.int8)
        extreme += int(((signs.double() * 2 - 1) @ differences).abs().ge(observed).sum())
    return extreme / (flips + 1)


def _compute_difference(one: RunScores, other: RunScores, metric: str, seed: int) -> Difference:
    first, second = _metric_values(one, metric), _metric_values(other, metric)
    both = (first.isfinite() & second.isfinite()).nonzero().squeeze(1)
    if not len(both):
        raise EvaluationError(f"no sketch has a value of '{metric}' in both {one.name} and {other.name}")
    gains = (second - first)[both]
    _, by_class = class_means(gains[:, None], one.labels[both])
    interval = percentile_intervals(resampled_means(gains[:, None], seed=seed))[0]
    spread = float(gains.std()) if len(gains) > 1 else 0.0
    return Difference(
        first=one.name,
        second=other.name,
        metric=metric,
        means=(float(first[both].mean()), float(second[both].mean())),
        difference=float(gains.mean()),
        low=interval.low,
        high=interval.high,
        p=sign_flip_p(gains, seed=seed),
        p_holm=1.0,
        p_classes=sign_flip_p(by_class[:, 0], seed=seed),
        effect=float(gains.mean()) / spread if spread else None,
        better=float((gains > 0).double().mean() + (gains == 0).double().mean() / 2),
        queries=len(both),
    )


def _metric_values(run: RunScores, metric: str) -> Float[Tensor, " q"]:
    if metric not in run.values:
        raise EvaluationError(
            f"{run.name} has no '{metric}'",
            f"It has: {', '.join(sorted(run.values))}. Choose one, or evaluate again.",
        )
    return run.values[metric]


def _check_same_images(one: RunScores, other: RunScores) -> None:
    for key in ("queries_sha256", "gallery_sha256"):
        if one.facts["data"][key] != other.facts["data"][key]:
            raise EvaluationError(
                f"{one.name} and {other.name} were evaluated on different {key.split('_')[0]}",
                "Evaluate both on the same data and split.",
            )


def _find_evaluation_folder(path: Path, split: str | None) -> Path:
    if (path / "results.json").is_file():
        return path
    found = sorted(
        file.parent for file in path.glob("evaluate/*/results.json") if split in (None, file.parent.name)
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise EvaluationError(
            f"{path} holds no evaluation", f"Evaluate it: ssl-sbir evaluate {path} --data …"
        )
    names = ", ".join(folder.name for folder in found)
    raise EvaluationError(f"{path} holds {len(found)} evaluations: {names}", "Choose one: --split NAME")
