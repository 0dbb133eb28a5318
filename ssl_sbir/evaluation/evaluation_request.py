"""What `ssl-sbir evaluate` was asked to evaluate: a run on data, or a file of features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.embeddings_file import read_embeddings
from ssl_sbir.evaluation.evaluate_run import EvaluationSettings, evaluate_run
from ssl_sbir.evaluation.from_embeddings import evaluate_embeddings
from ssl_sbir.evaluation.metrics.protocols import parse_tie_rule, resolve_protocols
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, to_plain_json


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate: `run` on `data`, or `embeddings`; the rest as for `evaluate_run`."""

    run: str | None
    data: str | None
    embeddings: Path | None
    split: str | None
    size: int | None
    fit: str | None
    out: Path | None


def run_evaluation(request: EvaluationRequest, settings: EvaluationSettings) -> dict[str, Any]:
    """The facts of an evaluation, JSON-able; `page` is the path of a run's page.

    Raises:
        SslSbirError: the request names neither or both, or what it names can't be evaluated.
    """
    resolve_protocols(settings.protocols)  # finds a misspelt name before anything is embedded
    parse_tie_rule(settings.ties)
    if request.embeddings is not None:
        return _evaluate_embeddings_file(request, request.embeddings, settings)
    if request.run is None or request.data is None:
        raise EvaluationError(
            "nothing to evaluate" if request.run is None else f"{request.run}: no data to evaluate on",
            "Give a run and its data (ssl-sbir evaluate runs/sake --data sketchy:PATH), or --embeddings FILE.",
        )
    evaluation, page = evaluate_run(
        request.run,
        request.data,
        request.split,
        settings,
        size=request.size,
        fit=request.fit,
        out=request.out,
    )
    return {**to_plain_json(evaluation.facts), "page": str(page)}


def _evaluate_embeddings_file(
    request: EvaluationRequest, path: Path, settings: EvaluationSettings
) -> dict[str, Any]:
    options = {"a run": request.run, "--data": request.data, "--split": request.split, "--gzs": settings.gzs}
    conflicting = [name for name, value in options.items() if value]
    if settings.centre != "none":
        conflicting.append("--centre")
    if settings.text:
        conflicting.append("--text")
    if conflicting:
        raise EvaluationError(
            f"--embeddings can't be combined with {', '.join(conflicting)}",
            "A file of features has no images: leave that out.",
        )
    file = read_embeddings(path)
    result = evaluate_embeddings(
        **file.arrays,
        classes=file.classes,
        protocols=settings.protocols,
        ties=parse_tie_rule(settings.ties),
        missing=settings.missing,
        bits=settings.bits,
        seed=settings.seed,
        name=path.name,
    )
    facts = to_plain_json(result.to_json())
    if request.out is not None:
        write_atomic(request.out / "results.json", json_text(facts, indent=1))
    return facts
