"""`compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.options import JsonOption

ComparedRunsArgument = Annotated[
    list[Path], typer.Argument(help="Two or more evaluated run folders, or folders of evaluations.")
]
ComparedMetricsOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Such as 'standard mAP@all' (the default); may be repeated."),
]


@app.command("compare")
def compare_command(
    runs: ComparedRunsArgument,
    metric: ComparedMetricsOption = None,
    split: Annotated[str | None, typer.Option(help="Name of the evaluation, if a run has several.")] = None,
    out_file: Annotated[
        list[Path] | None,
        typer.Option("--out", help="Table to write: .html, .md, .tex or .csv; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the bootstrap and the permutations.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Test whether evaluated runs differ: paired over the same sketches, corrected for many comparisons."""
    from ssl_sbir.evaluation.compare_runs import compare_runs, load_run_scores
    from ssl_sbir.evaluation.compare_tables import COMPARISON_NOTE, comparison_to_text, format_comparison
    from ssl_sbir.files import write_atomic

    scores = [load_run_scores(run, split) for run in runs]
    differences = compare_runs(scores, metric or ["standard mAP@all"], seed)
    tables = {path: format_comparison(differences, path) for path in out_file or ()}
    for path, table in tables.items():
        write_atomic(path, table)
        print_message(str(path))
    if as_json:
        print_json({"comparisons": [asdict(one) for one in differences], "note": COMPARISON_NOTE})
    else:
        stdout_console.print(comparison_to_text(differences), markup=False)
        stdout_console.print(COMPARISON_NOTE, markup=False, style="dim")
