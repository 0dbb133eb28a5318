"""`explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import Device, app, emit, out, say
from ssl_sbir.errors import ExplainError

if TYPE_CHECKING:
    from ssl_sbir.explain.index import Index
    from ssl_sbir.explain.query import QueryReport

Run = Annotated[str, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")]
Data = Annotated[str, typer.Option(help="What to search, such as folder:pets/ (ssl-sbir data list).")]
Query = Annotated[
    list[str] | None,
    typer.Option(
        help="The drawing: an image file, or a sketch of the data by key or row; several make an index."
    ),
]
Text = Annotated[str, typer.Option(help="A sentence beside the drawing, for encoders that read text.")]
FromEvaluation = Annotated[
    bool,
    typer.Option(
        "--from-evaluation", help="Explain the worst, the best and random queries of the run's evaluation."
    ),
]
Each = Annotated[int, typer.Option(min=1, help="With --from-evaluation: how many of each kind.")]
Top = Annotated[int, typer.Option(min=1, max=50, help="How many results to explain.")]
SplitName = Annotated[
    str | None,
    typer.Option("--split", help="Published split, JSON file, or hashed; the run's own by default."),
]
Gallery = Annotated[str | None, typer.Option(help="unseen or all; unseen where there is a split.")]
Methods = Annotated[
    str | None,
    typer.Option(help="Of gradcam, regions, occlusion, strokes, integrated, attention, separated by commas."),
]
Expected = Annotated[
    str | None, typer.Option(help="Key of a photo that should have come first: why didn't it?")
]
SemanticsSpec = Annotated[
    str | None, typer.Option("--semantics", help="Graph for paths between ideas, such as conceptnet:FILE.")
]
Draws = Annotated[int, typer.Option(min=0, help="Random maps each heat map is tested against; 0: no tests.")]
NoIdeas = Annotated[bool, typer.Option("--no-ideas", help="Don't name ideas near drawing and photos.")]
Templates = Annotated[Path | None, typer.Option(help="Folder of your own page templates.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print all facts as one JSON object.")]


@app.command()
def explain(
    run: Run,
    data: Data,
    query: Query = None,
    text: Text = "",
    from_evaluation: FromEvaluation = False,
    each: Each = 3,
    top: Top = 5,
    split: SplitName = None,
    gallery: Gallery = None,
    methods: Methods = None,
    expected: Expected = None,
    semantics: SemanticsSpec = None,
    draws: Draws = 3,
    no_ideas: NoIdeas = False,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Page to write, or folder for several queries; RUN/explain/QUERY.html."),
    ] = None,
    templates: Templates = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show why photos came back for a drawing: heat maps, matched regions, ideas, and how far to trust them."""
    from ssl_sbir.devices import device_of
    from ssl_sbir.explain.request import Request, answer

    if not query and not from_evaluation:
        raise ExplainError("no query", "Give --query FILE-OR-KEY, or --from-evaluation.")
    names = tuple(name.strip() for name in methods.split(",")) if methods else None
    found = answer(
        Request(
            run,
            data,
            tuple(query or ()),
            text,
            each if from_evaluation else None,
            top,
            split,
            gallery,
            names,
            expected,
            semantics,
            draws,
            not no_ideas,
            out_file,
            templates,
            device_of(device),
        )
    )
    if isinstance(found, tuple):
        _one(*found, as_json)
    else:
        _many(found, as_json)


def _one(report: "QueryReport", place: Path, as_json: bool) -> None:
    from ssl_sbir.reports.render import plain

    for warning in report.facts.warnings:
        say(warning)
    if as_json:
        emit({"page": str(place), **plain(report.facts)})
        return
    for result in report.facts.results:
        out.print(f"{result.rank:>3}  {result.explanation.score:.3f}  {result.id}", markup=False)
    out.print(report.facts.verdict, markup=False)
    if report.facts.trust:
        out.print(report.facts.trust.verdict, markup=False)
    out.print(str(place), markup=False)


def _many(index: "Index", as_json: bool) -> None:
    from ssl_sbir.reports.render import plain

    for query, reason in index.failures:
        say(f"{query}: {reason}")
    if as_json:
        emit({"page": str(index.page), **_without_page(plain(index))})
        return
    for entry in index.entries:
        kind = f"{entry.kind:>7}  " if entry.kind else ""
        score = "–" if entry.score is None else f"{entry.score:.3f}"
        out.print(f"{kind}{score:>6}  {entry.query}  →  {entry.href}", markup=False)
    out.print(str(index.page), markup=False)


def _without_page(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "page"}
