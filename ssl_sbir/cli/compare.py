"""`compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console

ComparedRunsArgument = Annotated[
    list[Path], typer.Argument(help="Two or more run folders that were evaluated, or such evaluations.")
]
ComparedMetricsOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Such as 'standard mAP@all' (the default); may be repeated."),
]


@app.command("compare")
def compare_command(
    runs: ComparedRunsArgument,
    metric: ComparedMetricsOption = None,
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
    from ssl_sbir.evaluation.compare_runs import compare_runs as compared
    from ssl_sbir.evaluation.compare_runs import load_run_scores
    from ssl_sbir.evaluation.compare_tables import COMPARISON_NOTE, comparison_to_text, format_comparison
    from ssl_sbir.files import write_atomic

    found = compared([load_run_scores(run, split) for run in runs], metric or ["standard mAP@all"], seed)
    tables = {path: format_comparison(found, path) for path in out_file or ()}
    for path, table in tables.items():
        write_atomic(path, table)
        print_message(str(path))
    if as_json:
        print_json({"comparisons": [asdict(one) for one in found], "note": COMPARISON_NOTE})
    else:
        stdout_console.print(comparison_to_text(found), markup=False)
        stdout_console.print(COMPARISON_NOTE, markup=False, style="dim")
