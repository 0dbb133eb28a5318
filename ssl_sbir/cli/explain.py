"""`explain`."""

from pathlib import Path
from typing import Annotated

import typer

from ssl_sbir.cli._app import app, emit, out, say

Run = Annotated[str, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")]
Data = Annotated[str, typer.Option(help="What to search, such as folder:pets/ (ssl-sbir data list).")]
Query = Annotated[
    str, typer.Option(help="The drawing: an image file, or a sketch of the data by key or row.")
]
Top = Annotated[int, typer.Option(min=1, max=50, help="How many results to explain.")]
SplitName = Annotated[
    str | None, typer.Option("--split", help="Published split or JSON file; the run's own by default.")
]
Gallery = Annotated[str | None, typer.Option(help="unseen or all; unseen where there is a split.")]
Methods = Annotated[
    str | None,
    typer.Option(help="Of gradcam, regions, occlusion, separated by commas; gradcam,regions by default."),
]
Templates = Annotated[Path | None, typer.Option(help="Folder of your own page templates.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print all facts as one JSON object.")]


@app.command()
def explain(
    run: Run,
    data: Data,
    query: Query,
    top: Top = 5,
    split: SplitName = None,
    gallery: Gallery = None,
    methods: Methods = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Page to write; RUN/explain/QUERY.html.")
    ] = None,
    templates: Templates = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show why photos came back for a drawing: one page with heat maps and matched regions."""
    from ssl_sbir.data.readers import open_data
    from ssl_sbir.explain.query import explain_query, safe_name
    from ssl_sbir.explain.subject import subject
    from ssl_sbir.reports.render import plain

    manifest = open_data(data)
    seen_by = subject(run, manifest, split)
    report = explain_query(
        seen_by.encoder,
        manifest,
        query,
        classes=seen_by.classes(gallery),
        top=top,
        methods=[name.strip() for name in methods.split(",")] if methods else None,
        device=device,
        settings=seen_by.settings(gallery),
    )
    place = report.save(out_file or seen_by.pages / f"{safe_name(report.facts.query)}.html", templates)
    for warning in report.facts.warnings:
        say(warning)
    if as_json:
        emit({"page": str(place), **plain(report.facts)})
        return
    for result in report.facts.results:
        out.print(f"{result.rank:>3}  {result.explanation.score:.3f}  {result.id}", markup=False)
    out.print(report.facts.verdict, markup=False)
    out.print(str(place), markup=False)
