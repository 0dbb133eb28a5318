"""`explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.options import (
    DeviceOption,
    EvaluationSplitOption,
    JsonOption,
    RunArgument,
    TemplatesOption,
)

if TYPE_CHECKING:
    from ssl_sbir.explain.run.explain_many import ExplanationIndex
    from ssl_sbir.explain.run.explain_query import QueryReport

ExplainDataOption = Annotated[
    str, typer.Option(help="The data to search, such as folder:pets/ (see ssl-sbir data list).")
]
ExplainQueryOption = Annotated[
    list[str] | None,
    typer.Option(
        help="The drawing: an image file, or a sketch of the data by key or row number. Repeat it for several "
        "queries and an index page; leave it out to explain a --text alone."
    ),
]
ExplainTextOption = Annotated[
    str,
    typer.Option(help="A sentence beside the drawing or without one, for runs and encoders that read text."),
]
FromEvaluationOption = Annotated[
    bool,
    typer.Option(
        "--from-evaluation", help="Explain the worst, best and random queries of the run's evaluation."
    ),
]
QueriesPerKindOption = Annotated[
    int, typer.Option("--per-kind", min=1, help="With --from-evaluation: number of queries of each kind.")
]
TopResultsOption = Annotated[int, typer.Option(min=1, max=50, help="Number of results to explain.")]
GalleryScopeOption = Annotated[
    str | None,
    typer.Option(help="Classes to search: unseen or all; by default unseen if there is a split."),
]
MapMethodsOption = Annotated[
    str | None,
    typer.Option(
        help="Heat maps, separated by commas: gradcam, regions, occlusion, strokes, integrated, attention."
    ),
]
ExpectedPhotoOption = Annotated[
    str | None, typer.Option(help="Key of a photo that should have been first, to show why it wasn't.")
]
SemanticsSpecOption = Annotated[
    str | None,
    typer.Option("--semantics", help="Graph for paths between concepts, such as conceptnet:FILE."),
]
RandomMapsOption = Annotated[
    int,
    typer.Option(
        "--random-maps",
        min=0,
        help="Number of random maps that each heat map is tested against; 0 skips the tests.",
    ),
]
NoConceptsOption = Annotated[
    bool, typer.Option("--no-concepts", help="Don't name the concepts nearest to drawing and photos.")
]


@app.command("explain")
def explain_command(
    run: RunArgument,
    data: ExplainDataOption,
    query: ExplainQueryOption = None,
    text: ExplainTextOption = "",
    from_evaluation: FromEvaluationOption = False,
    per_kind: QueriesPerKindOption = 3,
    top: TopResultsOption = 5,
    split: EvaluationSplitOption = None,
    gallery: GalleryScopeOption = None,
    methods: MapMethodsOption = None,
    expected: ExpectedPhotoOption = None,
    semantics: SemanticsSpecOption = None,
    random_maps: RandomMapsOption = 3,
    no_concepts: NoConceptsOption = False,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Page to write, or folder for several queries; by default RUN/explain/QUERY.html."
        ),
    ] = None,
    templates: TemplatesOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Explain why these photos were found: heat maps, matched regions, words, concepts, and how far to trust them."""
    from ssl_sbir.devices import resolve_device
    from ssl_sbir.explain.run.explanation_request import ExplanationRequest, run_explanation

    names = tuple(name.strip() for name in methods.split(",")) if methods else None
    explained = run_explanation(
        ExplanationRequest(
            run,
            data,
            tuple(query or ()),
            text,
            per_kind if from_evaluation else None,
            top,
            split,
            gallery,
            names,
            expected,
            semantics,
            random_maps,
            not no_concepts,
            out_file,
            templates,
            resolve_device(device),
        )
    )
    if isinstance(explained, tuple):
        _print_query_report(*explained, as_json)
    else:
        _print_report_index(explained, as_json)


def _print_query_report(report: "QueryReport", page: Path, as_json: bool) -> None:
    from ssl_sbir.reports.render import to_plain_json

    for warning in report.facts.warnings:
        print_message(warning)
    if as_json:
        print_json({"page": str(page), **to_plain_json(report.facts)})
        return
    for result in report.facts.results:
        stdout_console.print(f"{result.rank:>3}  {result.explanation.score:.3f}  {result.id}", markup=False)
    stdout_console.print(report.facts.verdict, markup=False)
    if report.facts.trust:
        stdout_console.print(report.facts.trust.verdict, markup=False)
    stdout_console.print(str(page), markup=False)


def _print_report_index(index: "ExplanationIndex", as_json: bool) -> None:
    from ssl_sbir.reports.render import to_plain_json

    for query, reason in index.failures:
        print_message(f"{query}: {reason}")
    if as_json:
        print_json({"page": str(index.page), **_without_page(to_plain_json(index))})
        return
    for entry in index.entries:
        kind = f"{entry.kind:>7}  " if entry.kind else ""
        score = "–" if entry.score is None else f"{entry.score:.3f}"
        stdout_console.print(f"{kind}{score:>6}  {entry.query}  →  {entry.href}", markup=False)
    stdout_console.print(str(index.page), markup=False)


def _without_page(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "page"}
