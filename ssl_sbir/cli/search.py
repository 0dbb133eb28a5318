"""The commands `index` and `search`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.options import DeviceOption, JsonOption, RunArgument, TemplatesOption
from ssl_sbir.errors import QueryError

if TYPE_CHECKING:
    from ssl_sbir.gallery.base import Gallery
    from ssl_sbir.gallery.index_photos import IndexingSummary
    from ssl_sbir.search.results import SearchResults
    from ssl_sbir.search.retriever import Retriever

MAX_SHOWN_BROKEN = 20

IndexedDataArgument = Annotated[
    str, typer.Argument(help="The photos: a folder, or another kind of data (ssl-sbir data list).")
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        help="exact, faiss, faiss:hnsw, faiss:ivf, milvus:URI, milvus-hnsw:URI or milvus-ivf:URI; "
        "by default the existing index's engine, or exact."
    ),
]
WaitSecondsOption = Annotated[
    float, typer.Option(min=0, help="Seconds to wait for another process that writes the index.")
]
VocabularyOption = Annotated[
    Path | None,
    typer.Option(
        help="A file of names by which texts are read in this index: CSV with name,definition, or a name a line. "
        "Each name means the photos in the folder of that name."
    ),
]
TextEncoderOption = Annotated[
    str | None,
    typer.Option(
        help="The encoder that reads texts in this index, such as a multilingual one: hf:NAME-or-FOLDER."
    ),
]
IndexArgument = Annotated[Path, typer.Argument(help="An index made by `ssl-sbir index`.")]
SketchOption = Annotated[Path | None, typer.Option(help="A drawing: an image or SVG file.")]
SearchTextOption = Annotated[
    str, typer.Option(help="A sentence; “not …” and “without …” in it lower the score of such photos.")
]
PhotoOption = Annotated[Path | None, typer.Option(help="A photo, to find similar photos.")]
WithoutTextOption = Annotated[
    list[str] | None, typer.Option(help="A text that lowers the score of such photos; may be repeated.")
]
LikePhotoOption = Annotated[
    list[str] | None, typer.Option(help="Id of a photo to find more like it; may be repeated.")
]
UnlikePhotoOption = Annotated[
    list[str] | None, typer.Option(help="Id of a photo to find fewer like it; may be repeated.")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weight", help="Weight of sketch, text or photo, such as text=2; may be repeated."),
]
HtmlOption = Annotated[Path | None, typer.Option(help="Write a page of the results to this HTML file.")]
ExplainOption = Annotated[
    Path | None, typer.Option(help="Write a page that explains the first five results to this HTML file.")
]
MovedRunOption = Annotated[str | None, typer.Option(help="The run, if it was moved after it made the index.")]


@app.command("index")
def index_command(
    run: RunArgument,
    data: IndexedDataArgument,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the index; RUN/index by default.")
    ] = None,
    engine: EngineOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing index.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos embedded at a time.")] = 64,
    wait: WaitSecondsOption = 600.0,
    vocabulary: VocabularyOption = None,
    text_encoder: TextEncoderOption = None,
    without_teacher: Annotated[
        bool,
        typer.Option(
            "--without-teacher",
            help="Embed photos by the run alone, not by its teacher too: faster and smaller, but texts find less.",
        ),
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make photos searchable; run again to add new photos and remove deleted ones."""
    from ssl_sbir.search.retriever import Retriever

    folder = out_folder or _default_index_folder(run)
    retriever = Retriever.load(run, device=device, with_teacher=not without_teacher).index(
        data,
        folder,
        engine=engine,
        overwrite=overwrite,
        batch_size=batch_size,
        wait=wait,
        vocabulary=vocabulary,
        text_encoder=text_encoder,
    )
    summary, gallery = retriever.indexing_summary, retriever.gallery
    assert summary is not None
    for broken in summary.broken[:MAX_SHOWN_BROKEN]:
        print_message(f"{broken.key}: {broken.reason}, left out")
    if len(summary.broken) > MAX_SHOWN_BROKEN:
        print_message(f"and {len(summary.broken) - MAX_SHOWN_BROKEN:,} more that can't be read")
    for note in retriever.notes:
        print_message(note)
    if as_json:
        print_json(_index_facts(summary, folder, gallery))
    else:
        _print_index_summary(summary, folder, gallery, retriever.model.reads_text)
    gallery.close()


def _default_index_folder(run: str) -> Path:
    if not Path(run).is_dir():
        raise QueryError(
            f"{run} is not a run folder, which could hold the index", "Name a folder: --out FOLDER"
        )
    return Path(run) / "index"


def _index_facts(summary: "IndexingSummary", folder: Path, gallery: "Gallery") -> dict[str, Any]:
    broken = [{"id": it.key, "reason": it.reason} for it in summary.broken]
    return {
        "index": str(folder),
        "engine": gallery.engine,
        "recall@10": gallery.facts.get("recall@10"),
        **vars(summary),
        "broken": broken,
        "rate": summary.photos_per_second,
    }


def _print_index_summary(
    summary: "IndexingSummary", folder: Path, gallery: "Gallery", reads_text: bool
) -> None:
    counts = f"{summary.added:,} added, {summary.removed:,} removed, {summary.unchanged:,} unchanged"
    broken = f", {len(summary.broken):,} can't be read" if summary.broken else ""
    rate = f"({summary.seconds:.1f} s, {summary.photos_per_second:,.0f} img/s)"
    stdout_console.print(f"{summary.items:,} photos: {counts}{broken}  {rate}", markup=False)
    recall = gallery.facts.get("recall@10")
    accuracy = f", recall@10 {recall:.3f} against exact search" if recall is not None else ""
    stdout_console.print(f"{folder}   engine {gallery.engine}{accuracy}", markup=False)
    text = ' --text "a sentence"' if reads_text else ""
    stdout_console.print(f"next: ssl-sbir search {folder} --sketch drawing.png{text}", markup=False)


@app.command("search")
def search_command(
    index: IndexArgument,
    sketch: SketchOption = None,
    text: SearchTextOption = "",
    photo: PhotoOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    weight: WeightsOption = None,
    without: WithoutTextOption = None,
    like: LikePhotoOption = None,
    unlike: UnlikePhotoOption = None,
    run: MovedRunOption = None,
    html: HtmlOption = None,
    explain: ExplainOption = None,
    templates: TemplatesOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Search an index by a drawing, a sentence, a photo, or several of them together."""
    retriever = _open_retriever(index, run, device)
    results = retriever.search(
        sketch=sketch,
        text=text,
        photo=photo,
        k=k,
        weights=_parse_weights(weight or []),
        without=without or (),
        like=like or (),
        unlike=unlike or (),
    )
    assert not isinstance(results, list)
    pages = [results.save(html, templates)] if html else []
    if explain:
        pages.append(results.explain().save(explain, templates))
    _print_results(results, pages, as_json)
    retriever.gallery.close()


def _open_retriever(index: Path, run: str | None, device: str) -> "Retriever":
    from ssl_sbir.errors import EncoderError, GalleryError, RunError
    from ssl_sbir.gallery.store import read_index
    from ssl_sbir.search.retriever import Retriever

    name = run or str((read_index(index)["facts"].get("model") or {}).get("name"))
    try:
        return Retriever.load(name, device=device).open(index)
    except (EncoderError, RunError) as error:
        if run:
            raise
        raise GalleryError(
            f"{index} was made with {name}, which can't be loaded: {error.message}",
            "If it was moved, name its new place: --run RUN",
        ) from error


def _print_results(results: "SearchResults", pages: list[Path], as_json: bool) -> None:
    from ssl_sbir.search.results_page import format_results_table

    for note in results.notes:
        print_message(note)
    if as_json:
        print_json({**results.facts(), "pages": [str(page) for page in pages]})
        return
    width = max(stdout_console.width, 80)
    stdout_console.print(format_results_table(results.hits, width), markup=False)
    for page in pages:
        stdout_console.print(str(page), markup=False)


def _parse_weights(assignments: list[str]) -> dict[str, float] | None:
    weights = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise QueryError(f"--weight {text}", "Write it as text=2 or sketch=0.5.")
    return weights or None
