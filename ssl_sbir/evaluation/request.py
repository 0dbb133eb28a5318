"""What the command line asks for: a run on data, or a file of features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.embeddings import evaluate_embeddings
from ssl_sbir.evaluation.embeddings_file import read_embeddings
from ssl_sbir.evaluation.protocols import protocols, tie_rule
from ssl_sbir.evaluation.subject import How, evaluated
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, plain


@dataclass(frozen=True)
class Request:
    """What to evaluate: `run` on `data`, or `embeddings`; the rest as for `evaluated`."""

    run: str | None
    data: str | None
    embeddings: Path | None
    split: str | None
    size: int | None
    fit: str | None
    out: Path | None


def answer(request: Request, how: How) -> dict[str, Any]:
    """The facts of an evaluation, JSON-able; `page` names what was written for a run.

    Raises:
        SslSbirError: it asks for neither or both, or what it asks for can't be evaluated.
    """
    protocols(how.protocols)  # a misspelt name must not cost an embedding
    tie_rule(how.ties)
    if request.embeddings is not None:
        return _of_file(request, request.embeddings, how)
    if request.run is None or request.data is None:
        raise EvaluationError(
            "nothing to evaluate" if request.run is None else f"{request.run}: evaluated on what?",
            "Give a run and its data (ssl-sbir evaluate runs/sake --data sketchy:PATH), or --embeddings FILE.",
        )
    found, page = evaluated(
        request.run,
        request.data,
        request.split,
        how,
        size=request.size,
        fit=request.fit,
        out=request.out,
    )
    return {**plain(found.facts), "page": str(page)}


def _of_file(request: Request, path: Path, how: How) -> dict[str, Any]:
    given = {"a run": request.run, "--data": request.data, "--split": request.split, "--gzs": how.gzs}
    wrong = [name for name, value in given.items() if value]
    if how.centre != "none":
        wrong.append("--centre")
    if wrong:
        raise EvaluationError(
            f"--embeddings goes without {', '.join(wrong)}", "Features have no images to go back to."
        )
    file = read_embeddings(path)
    result = evaluate_embeddings(
        **file.arrays,
        classes=file.classes,
        protocols=how.protocols,
        ties=tie_rule(how.ties),
        missing=how.missing,
        bits=how.bits,
        seed=how.seed,
        name=path.name,
    )
    facts = plain(result.json())
    if request.out is not None:
        write_atomic(request.out / "results.json", json_text(facts, indent=1))
    return facts
