"""`evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ssl_sbir.cli._app import app, emit, out

Run = Annotated[str, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")]
Data = Annotated[str, typer.Option(help="What to evaluate on, such as folder:pets/ (ssl-sbir data list).")]
SplitName = Annotated[
    str | None, typer.Option("--split", help="Published split or JSON file; the run's own by default.")
]
Protocols = Annotated[
    list[str] | None, typer.Option("--protocol", help="A published definition; may be repeated; all by default.")
]
Centre = Annotated[
    str, typer.Option(help="none, or train: subtract each domain's mean over the seen classes' images.")
]


@app.command()
def evaluate(
    run: Run,
    data: Data,
    split: SplitName = None,
    protocol: Protocols = None,
    centre: Centre = "none",
    size: Annotated[int | None, typer.Option(help="Image side, for a named encoder only.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Folder to write; RUN/evaluate/SPLIT.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Embed anew and keep nothing.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure sketch → photo retrieval on unseen classes, under every published definition."""
    from ssl_sbir.evaluation.subject import evaluated
    from ssl_sbir.reports.render import plain

    evaluation, page = evaluated(
        run, data, split, protocol, centre, size=size, out=out_folder, device=device, cache=not no_cache
    )
    if as_json:
        emit(plain({**evaluation.facts, "page": page}))
    else:
        _print(run, evaluation.facts)
        out.print(str(page), markup=False)


def _print(name: str, facts: dict[str, Any]) -> None:
    for warning in facts["warnings"]:
        out.print(warning, style="yellow", markup=False)
    split = facts["split"]
    out.print(
        f"{split['name']} (sha {split['sha256'][:8]}…) · {facts['queries']:,} sketches → {facts['gallery']:,} photos"
        f" · {len(split['unseen'])} unseen classes · chance {facts['chance']:.3f}",
        markup=False,
    )
    metrics = list(dict.fromkeys(metric for values in facts["protocols"].values() for metric in values))
    table = Table("definition", "", *metrics, box=None, header_style="dim")
    for protocol, values in facts["protocols"].items():
        if facts["frozen"]:
            table.add_row(protocol, "frozen", *_cells(facts["frozen"][protocol], metrics))
        ranges = facts["over_queries"][protocol]
        table.add_row("" if facts["frozen"] else protocol, "this", *_cells(values, metrics, ranges))
    out.print(table)
    out.print(f"this: {name} · mean over queries, ± half the 95 % bootstrap interval", style="dim", markup=False)


def _cells(values: dict[str, float], metrics: list[str], ranges: dict[str, Any] | None = None) -> list[str]:
    return [_cell(values, metric, ranges) for metric in metrics]


def _cell(values: dict[str, float], metric: str, ranges: dict[str, Any] | None) -> str:
    if metric not in values:
        return "–"
    low, high = ranges[metric] if ranges else (0.0, 0.0)
    return f"{values[metric]:.3f}" + (f" ± {(high - low) / 2:.3f}" if ranges else "")
