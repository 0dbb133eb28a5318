"""Are two runs really different? Paired tests over the same sketches."""

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
    """What a run's evaluation left.

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
    """Evaluations of the same sketches cut down to one column, and to the sketches that each has a value of.

    A protocol may ask with some sketches only: the others have no value, which is not 0.

    Raises:
        EvaluationError: there is no sketch that all of them have a value of.
    """
    there = torch.stack([one.values[column].isfinite() for one in scores_by_run.values()]).all(0)
    if not there.any():
        raise EvaluationError(f"no sketch has a value of '{column}' in every run", "Choose another metric.")
    return {
        run: replace(one, values={column: one.values[column][there]}, labels=one.labels[there])
        for run, one in scores_by_run.items()
    }


@dataclass(frozen=True)
class Difference:
    """One metric of two runs over the same sketches.

    Attributes:
        first: a run.
        second: another.
        metric: "<protocol> <metric>".
        means: of both.
        difference: mean of second − first.
        low: start of its 95 % interval, sketches resampled.
        high: its end.
        p: of a sign-flip permutation test over sketches, two-sided.
        p_holm: the same, corrected by Holm for all comparisons made.
        p_classes: of the same test over classes, which doesn't take sketches of a class for independent.
        effect: Cohen's d of the paired differences (mean / standard deviation).
        better: share of sketches that gain, halves of ties counted.
        queries: how many sketches both have a value of.
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
            f"{folder} is no whole evaluation: {error}", f"Evaluate again: ssl-sbir evaluate {path} --data …"
        ) from error


def compare_runs(runs: Sequence[RunScores], metrics: Sequence[str], seed: int = 0) -> list[Difference]:
    """The differences between all pairs of runs in some metrics, corrected for their number.

    Raises:
        EvaluationError: fewer than two runs, other sketches or photos, or a metric that a run lacks.
    """
    if len(runs) < 2:
        raise EvaluationError("one run can't be compared", "Name two runs or more.")
    for run in runs[1:]:
        _check_same_images(runs[0], run)
    found = [
        _compute_difference(one, other, metric, seed)
        for one, other in itertools.combinations(runs, 2)
        for metric in metrics
    ]
    adjusted = holm_correction([one.p for one in found])
    return [Difference(**{**vars(one), "p_holm": p}) for one, p in zip(found, adjusted, strict=True)]


def holm_correction(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979)."""
    order = sorted(range(len(p)), key=lambda place: p[place])
    corrected, worst = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = worst
    return corrected


def sign_flip_p(differences: Float[Tensor, " q"], flips: int = SIGN_FLIPS, seed: int = 0) -> float:
    """The share of random sign changes whose mean is as far from 0 as the observed one (both counted in)."""
    differences = differences.double()
    seen = differences.sum().abs() * (1 - 1e-12)
    draw, beyond, step = (
        torch.Generator().manual_seed(seed),
        1,
        max(1, SIGNS_AT_ONCE // max(1, len(differences))),
    )
    for start in range(0, flips, step):
        count = min(step, flips - start)
        signs = torch.randint(2, (count, len(differences)), generator=draw, dtype=torch.int8)
        beyond += int(((signs.double() * 2 - 1) @ differences).abs().ge(seen).sum())
    return beyond / (flips + 1)


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
            f"{run.name} has no '{metric}'", f"It has: {', '.join(sorted(run.values))}. Or evaluate it again."
        )
    return run.values[metric]


def _check_same_images(one: RunScores, other: RunScores) -> None:
    for key in ("queries_sha256", "gallery_sha256"):
        if one.facts["data"][key] != other.facts["data"][key]:
            raise EvaluationError(
                f"{one.name} and {other.name} were evaluated on other {key.split('_')[0]}",
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
        raise EvaluationError(f"{path} holds no evaluation", f"Make one: ssl-sbir evaluate {path} --data …")
    names = ", ".join(folder.name for folder in found)
    raise EvaluationError(f"{path} holds {len(found)} evaluations: {names}", "Choose one: --split NAME")
