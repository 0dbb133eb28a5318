"""`data`: kinds of data, checking a data set, and decoding it once."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.options import JsonOption
from ssl_sbir.errors import ConfigError

if TYPE_CHECKING:
    from ssl_sbir.data.image_pack import Pack
    from ssl_sbir.data.manifest import Manifest
    from ssl_sbir.data.splits import Split

data_app = typer.Typer(no_args_is_help=True, help="List, check and prepare data.")
app.add_typer(data_app, name="data")

DataSpecArgument = Annotated[
    str, typer.Argument(help="KIND:PATH, a folder, or openmoji. See: ssl-sbir data list")
]
STATUS_MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "problem": "[red]✗[/]"}


@data_app.command("list")
def list_data(as_json: JsonOption = False) -> None:
    """Kinds of data, and the published splits with their counts and hashes."""
    from ssl_sbir.data.readers import READERS
    from ssl_sbir.data.splits import Split

    kinds = [{"name": name, "summary": _summarize_kind(name)} for name in READERS.names()]
    splits = [_split_facts(Split.load(name)) for name in Split.names()]
    if as_json:
        print_json({"kinds": kinds, "splits": splits})
        return
    stdout_console.print(_build_plain_table(("kind", "what it reads"), [tuple(it.values()) for it in kinds]))
    stdout_console.print(
        _build_plain_table(
            ("split", "seen", "unseen", "queries", "gallery", "sha"), [_split_table_row(it) for it in splits]
        )
    )
    stdout_console.print("(ssl-sbir data verify KIND:PATH · data prepare KIND:PATH --size 224)", style="dim")


@data_app.command("prepare")
def prepare_data(
    spec: DataSpecArgument,
    size: Annotated[int, typer.Option(min=8, max=4096, help="Side in pixels.")] = 224,
    fit: Annotated[
        str, typer.Option(help="How images become square: ink (as recipes do), squash, crop or pad.")
    ] = "ink",
    strict: Annotated[bool, typer.Option("--strict", help="A broken image is an error.")] = False,
    edges: Annotated[
        str | None,
        typer.Option(
            help="hed or hed_lines: also compute the edges of all photos (other detectors need no preparation)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decode all images once, so that training and evaluation read one array."""
    from ssl_sbir.data.image_pack import prepare_pack
    from ssl_sbir.data.manifest import Domain
    from ssl_sbir.data.readers import open_data

    if edges not in (None, "hed", "hed_lines"):
        raise ConfigError(
            f"--edges {edges}: only HED's edges are computed beforehand",
            "Write --edges hed or hed_lines, or leave it out: sobel and canny are computed during training.",
        )
    manifest = open_data(spec)
    pack = prepare_pack(manifest, size, fit=fit, strict=strict)
    drawn = _prepare_photo_edges(manifest, pack, edges) if edges else None
    if as_json:
        print_json(_pack_facts(manifest, pack) | ({"edges": {"detector": edges, **drawn}} if drawn else {}))
        return
    _print_data_warnings(manifest, pack)
    sketches, photos = (len(manifest.find_rows(domain=domain)) for domain in Domain)
    stdout_console.print(
        f"photos {photos:,} · sketches {sketches:,} · classes {len(manifest.classes):,} · {size} px"
    )
    stdout_console.print(f"{pack.folder}   {pack.images.nbytes / 1e6:,.0f} MB", markup=False)


@data_app.command("verify")
def verify_data(
    spec: DataSpecArgument,
    split: Annotated[
        str | None, typer.Option(help="Split that the data must support: a name or a JSON file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a data set with the published counts, open every image, and report problems."""
    from ssl_sbir.data.verify import verify_dataset

    report = verify_dataset(spec, split)
    if as_json:
        print_json(report.facts())
    else:
        width = max((len(it.what) for it in report.findings), default=0)
        for it in report.findings:
            stdout_console.print(STATUS_MARKS[it.status], end=" ")
            stdout_console.print(f"{it.what:<{min(width, 48)}}  {it.text}", markup=False)
        stdout_console.print(report.verdict + ("" if report.is_ready else " · exit 1"), markup=False)
    if not report.is_ready:
        raise typer.Exit(1)


def _prepare_photo_edges(manifest: "Manifest", pack: "Pack", edges: str) -> dict[str, Any]:
    from ssl_sbir.devices import resolve_device
    from ssl_sbir.edges import prepare_edges

    maps = prepare_edges(manifest, pack, lines=edges == "hed_lines", device=resolve_device())
    print_message(f"edges of {len(maps):,} photos in {maps.folder}")
    return {"photos": len(maps), "folder": str(maps.folder)}


def _print_data_warnings(manifest: "Manifest", pack: "Pack") -> None:
    for warning in (*manifest.read_errors, *manifest.warnings):
        print_message(warning)
    if pack.broken:
        print_message(f"{len(pack.broken):,} images can't be read and are left out:")
    for item in pack.broken[:10]:
        print_message(f"  {item.key}: {item.reason}")


def _summarize_kind(kind: str) -> str:
    from ssl_sbir.data.readers import READERS

    return (READERS.get(kind).__doc__ or "").strip().split("\n")[0]


def _split_facts(split: "Split") -> dict[str, Any]:
    return {
        "name": split.name,
        "seen": len(split.seen),
        "unseen": len(split.unseen),
        "published_counts": dict(split.published_counts),
        "sha256": split.sha256,
        "source": split.source,
    }


def _split_table_row(facts: dict[str, Any]) -> tuple[str, ...]:
    counts = facts["published_counts"]
    published = (counts.get(key) for key in ("query_sketches", "gallery_photos"))
    shown = (f"{count:,}" if count else "–" for count in published)
    return (facts["name"], str(facts["seen"]), str(facts["unseen"]), *shown, f"{facts['sha256'][:8]}…")


def _pack_facts(manifest: "Manifest", pack: "Pack") -> dict[str, Any]:
    from ssl_sbir.data.manifest import Domain

    return {
        "spec": manifest.name,
        "manifest_sha256": manifest.sha256,
        "images": len(pack),
        "sketches": len(manifest.find_rows(domain=Domain.SKETCH)),
        "photos": len(manifest.find_rows(domain=Domain.PHOTO)),
        "classes": len(manifest.classes),
        "size": pack.size,
        "fit": pack.fit,
        "folder": str(pack.folder),
        "broken": [{"key": it.key, "reason": it.reason} for it in pack.broken],
        "lost": list(manifest.read_errors),
        "warnings": list(manifest.warnings),
    }


def _build_plain_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    return table
