"""`compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ssl_sbir.cli._app import app, emit, out, say

Runs = Annotated[
    list[Path], typer.Argument(help="Two or more run folders that were evaluated, or such evaluations.")
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Such as 'standard mAP@all' (the default); may be repeated."),
]


@app.command()
def compare(
    runs: Runs,
    metric: Metrics = None,
    split: Annotated[
        str | None, typer.Option(help="Name of the evaluation, where runs have several.")
    ] = None,
    out_file: Annotated[
        list[Path] | None,
        typer.Option("--out", help="Table to write: .html, .md, .tex or .csv; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the permutations.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Test whether evaluated runs differ: paired over the same sketches, corrected for many comparisons."""
    from ssl_sbir.evaluation.compare import compare as compared
    from ssl_sbir.evaluation.compare import scored
    from ssl_sbir.evaluation.compare_tables import NOTE, formatted, text
    from ssl_sbir.files import write_atomic

    found = compared([scored(run, split) for run in runs], metric or ["standard mAP@all"], seed)
    tables = {path: formatted(found, path) for path in out_file or ()}
    for path, table in tables.items():
        write_atomic(path, table)
        say(str(path))
    if as_json:
        emit({"comparisons": [asdict(one) for one in found], "note": NOTE})
    else:
        out.print(text(found), markup=False)
        out.print(NOTE, markup=False, style="dim")
