"""`index_command` and `search_command`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import DeviceOption, app, print_json, print_message, stdout_console
from ssl_sbir.errors import QueryError

if TYPE_CHECKING:
    from ssl_sbir.gallery.index_photos import IndexingSummary
    from ssl_sbir.search.results import SearchResults

IndexedRunArgument = Annotated[
    str, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")
]
IndexedDataArgument = Annotated[
    str, typer.Argument(help="The photos: a folder, or another kind of data (ssl-sbir data list).")
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        help="exact, faiss, faiss:hnsw, faiss:ivf, milvus:URI, milvus-hnsw:URI or milvus-ivf:URI; exact, or the index's own."
    ),
]
WaitSecondsOption = Annotated[
    float, typer.Option(min=0, help="Seconds to wait for another process that writes the index.")
]
IndexArgument = Annotated[Path, typer.Argument(help="An index that `ssl-sbir index` made.")]
SearchTextOption = Annotated[
    str, typer.Option(help="A sentence; “not …” and “without …” in it move away from that.")
]
WithoutTextOption = Annotated[
    list[str] | None, typer.Option(help="A text to move away from; may be repeated.")
]
LikePhotoOption = Annotated[
    list[str] | None, typer.Option(help="A photo's id to move towards; may be repeated.")
]
UnlikePhotoOption = Annotated[
    list[str] | None, typer.Option(help="A photo's id to move away from; may be repeated.")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weight", help="How much a side counts, such as text=2; may be repeated."),
]


@app.command("index")
def index_command(
    run: IndexedRunArgument,
    data: IndexedDataArgument,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the index; RUN/index by default.")
    ] = None,
    engine: EngineOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing index.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos embedded at a time.")] = 64,
    wait: WaitSecondsOption = 600.0,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Make photos searchable; run again to add new ones and drop those that vanished."""
    from ssl_sbir.search.retriever import Retriever

    folder = out_folder or _default_index_folder(run)
    found = Retriever.load(run, device=device).index(
        data, folder, engine=engine, overwrite=overwrite, batch_size=batch_size, wait=wait
    )
    done, gallery = found.indexing_summary, found.gallery
    assert done is not None
    for broken in done.broken[:20]:
        print_message(f"{broken.key}: {broken.reason}, left out")
    if len(done.broken) > 20:
        print_message(f"and {len(done.broken) - 20:,} more that can't be read")
    if as_json:
        print_json(_index_facts(done, folder, gallery))
    else:
        _print_index_summary(done, folder, gallery)
    gallery.close()


def _default_index_folder(run: str) -> Path:
    if not Path(run).is_dir():
        raise QueryError(f"{run} is no run folder that an index could lie in", "Say where: --out FOLDER")
    return Path(run) / "index"


def _index_facts(done: "IndexingSummary", folder: Path, gallery: Any) -> dict[str, Any]:
    broken = [{"id": it.key, "reason": it.reason} for it in done.broken]
    return {
        "index": str(folder),
        "engine": gallery.engine,
        "recall@10": gallery.facts.get("recall@10"),
        **vars(done),
        "broken": broken,
        "rate": done.photos_per_second,
    }


def _print_index_summary(done: "IndexingSummary", folder: Path, gallery: Any) -> None:
    stdout_console.print(
        f"{done.items:,} photos: {done.added:,} added, {done.removed:,} removed, {done.unchanged:,} unchanged"
        + (f", {len(done.broken):,} can't be read" if done.broken else "")
        + f"  ({done.seconds:.1f} s, {done.photos_per_second:,.0f} img/s)",
        markup=False,
    )
    recall = gallery.facts.get("recall@10")
    stated = f", recall@10 {recall:.3f} against exact search" if recall is not None else ""
    stdout_console.print(f"{folder}   engine {gallery.engine}{stated}", markup=False)
    stdout_console.print(f"next: ssl-sbir search {folder} --sketch drawing.png", markup=False)


@app.command("search")
def search_command(
    index: IndexArgument,
    sketch: Annotated[Path | None, typer.Option(help="A drawing: an image or SVG file.")] = None,
    text: SearchTextOption = "",
    photo: Annotated[Path | None, typer.Option(help="A photo whose like is sought.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    weight: WeightsOption = None,
    without: WithoutTextOption = None,
    like: LikePhotoOption = None,
    unlike: UnlikePhotoOption = None,
    run: Annotated[str | None, typer.Option(help="The run, if it moved since it made the index.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a sheet of the results: one HTML file.")] = None,
    explain: Annotated[Path | None, typer.Option(help="Write why the first five came back.")] = None,
    templates: Annotated[Path | None, typer.Option(help="Folder of your own page templates.")] = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Search an index by a drawing, a sentence, a photo, or any of them together."""
    from ssl_sbir.errors import EncoderError, GalleryError, RunError
    from ssl_sbir.gallery.store import read_index
    from ssl_sbir.search.retriever import Retriever

    name = run or str((read_index(index)["facts"].get("model") or {}).get("name"))
    try:
        retriever = Retriever.load(name, device=device).open(index)
    except (EncoderError, RunError) as error:
        if run:
            raise
        raise GalleryError(
            f"{index} was made with {name}, which can't be loaded: {error.message}",
            "If it moved, say where to: --run RUN",
        ) from error
    hits = retriever.search(
        sketch=sketch,
        text=text,
        photo=photo,
        k=k,
        weights=_parse_weights(weight or []),
        without=without or (),
        like=like or (),
        unlike=unlike or (),
    )
    assert not isinstance(hits, list)
    pages = [hits.save(html, templates)] if html else []
    if explain:
        pages.append(hits.explain().save(explain, templates))
    _print_hits(hits, pages, as_json)
    retriever.gallery.close()


def _print_hits(hits: "SearchResults", pages: list[Path], as_json: bool) -> None:
    from ssl_sbir.search.results_page import format_results_table

    for note in hits.notes:
        print_message(note)
    if as_json:
        print_json({**hits.facts(), "pages": [str(page) for page in pages]})
        return
    stdout_console.print(format_results_table(hits, max(stdout_console.width, 80)), markup=False)
    for page in pages:
        stdout_console.print(str(page), markup=False)


def _parse_weights(given: list[str]) -> dict[str, float] | None:
    weights = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise QueryError(f"--weight {text}", "Write it as text=2 or sketch=0.5.")
    return weights or None
