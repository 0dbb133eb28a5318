"""Search results for people: a table, thumbnails in a notebook, a page."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.decode_image import MAX_PIXELS
from ssl_sbir.data.manifest import ImageSource
from ssl_sbir.search.hit import SearchHit
from ssl_sbir.search.query_image import QueryImage

if TYPE_CHECKING:
    from ssl_sbir.reports.page_images import PageImage

PAGE_THUMBNAIL_SIDE, NOTEBOOK_THUMBNAIL_SIDE = 384, 128  # pixels
# The names of a query's parts for people, in the order in which they are shown.
QUERY_PART_TITLES = {
    "sketch": "drawing",
    "text": "text",
    "photo": "photo",
    "like": "liked photos",
    "unlike": "disliked photos",
    "without": "negated text",
}


@dataclass(frozen=True)
class ResultsView:
    """What a page shows of one search.

    Attributes:
        hits: the photos found, best first.
        sketch: the query's drawing.
        photo: the query's photo.
        source: opens the photos found; None where the data are gone.
        facts: of the search, JSON-able.
        settings: how it was computed, by name.
    """

    hits: Sequence[SearchHit]
    sketch: QueryImage | None
    photo: QueryImage | None
    source: ImageSource | None
    facts: dict[str, Any]
    settings: dict[str, str]


def format_results_table(hits: Sequence[SearchHit], width: int = 120) -> str:
    """The hits as a table in plain text, without a line break at its end."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    parts = _shown_parts(hits)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "score", *(QUERY_PART_TITLES[part] for part in parts)):
        table.add_column(name, justify="right")
    table.add_column("photo", overflow="fold")
    for hit in hits:
        numbers = [str(hit.rank), f"{hit.score:.3f}", *(f"{hit.parts[part]:+.3f}" for part in parts)]
        table.add_row(*numbers, Text(visible_name(hit.id) + (" (deleted)" if hit.gone else "")))
    output = io.StringIO()
    Console(file=output, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip("\n").split("\n"))


def visible_name(name: str) -> str:
    """A name that is safe in a terminal: control characters become `�`."""
    return "".join(sign if sign.isprintable() else "�" for sign in printable_or_replaced(name))


def printable_or_replaced(name: str) -> str:
    """A name as text that can be encoded: what is not Unicode becomes `�`."""
    try:
        return printable_name(name)
    except UnicodeEncodeError:  # a lone surrogate, which no file name has
        return name.encode("utf-8", "replace").decode()


def write_results_page(path: Path, view: ResultsView, templates: Path | None = None) -> Path:
    """Writes a self-contained HTML page of the query and its results and returns its path."""
    from ssl_sbir.reports.render import render_template, write_html_page

    context = _page_context(view, PAGE_THUMBNAIL_SIDE)
    return write_html_page(path, render_template("search.html.j2", context, templates))


def render_notebook_fragment(view: ResultsView) -> str:
    """HTML of the results for a notebook cell."""
    from ssl_sbir.reports.render import render_template

    return render_template("hits.html.j2", _page_context(view, NOTEBOOK_THUMBNAIL_SIDE))


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


def _shown_parts(hits: Sequence[SearchHit]) -> list[str]:
    return [name for name in QUERY_PART_TITLES if hits and name in hits[0].parts]


def _page_context(view: ResultsView, side: int) -> dict[str, Any]:
    return {
        "facts": view.facts,
        "drawing": _query_thumbnail(view.sketch, side),
        "photo": _query_thumbnail(view.photo, side),
        "names": [(name, QUERY_PART_TITLES[name]) for name in _shown_parts(view.hits)],
        "most": max((abs(value) for hit in view.hits for value in hit.parts.values()), default=0.0),
        "cards": [_hit_card(hit, view.source, side) for hit in view.hits],
        "settings": view.settings,
    }


def _hit_card(hit: SearchHit, source: ImageSource | None, side: int) -> dict[str, Any]:
    image = None if hit.gone or source is None else _load_thumbnail(source, hit.id, side)
    return {"hit": hit, "name": visible_name(hit.id), "image": image}


def _query_thumbnail(image: QueryImage | None, side: int) -> "PageImage | None":
    return None if image is None else _load_thumbnail(image, image.name, side)


def _load_thumbnail(source: ImageSource, key: str, side: int) -> "PageImage | None":
    """The image for a page; None where it can't be read."""
    from PIL import ImageOps

    from ssl_sbir.reports.page_images import to_page_image

    try:
        with source.open(key, side) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (2 * side, 2 * side))
            return to_page_image(ImageOps.exif_transpose(image), side=side)
    except Exception:  # a hostile file makes Pillow raise nearly anything
        return None
