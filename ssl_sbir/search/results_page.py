"""Hits as people see them: a table, thumbnails in a notebook, a page of its own."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import ImageOps
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssl_sbir import __version__
from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.decode_image import MAX_PIXELS
from ssl_sbir.data.manifest import ImageSource
from ssl_sbir.reports import page_images as images
from ssl_sbir.reports.render import render_template
from ssl_sbir.search.query_image import QueryImage

if TYPE_CHECKING:
    from ssl_sbir.search.results import SearchResults

PAGE_THUMBNAIL_SIDE, NOTEBOOK_THUMBNAIL_SIDE = 384, 128  # pixels of a picture on a page, and in a notebook
# How a part of a query is called; the order in which parts are shown.
QUERY_PART_TITLES = {
    "sketch": "drawing",
    "text": "text",
    "photo": "photo",
    "like": "liked photos",
    "unlike": "disliked photos",
    "without": "refused text",
}


def format_results_table(hits: "SearchResults", width: int = 120) -> str:
    """The hits as a table in plain text, without a line break at its end."""
    parts = [name for name in QUERY_PART_TITLES if hits.hits and name in hits.hits[0].parts]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "score", *(QUERY_PART_TITLES[part] for part in parts)):
        shown.add_column(name, justify="right")
    shown.add_column("photo", overflow="fold")
    for hit in hits:
        numbers = [str(hit.rank), f"{hit.score:.3f}", *(f"{hit.parts[part]:+.3f}" for part in parts)]
        shown.add_row(*numbers, Text(visible_name(hit.id) + (" (deleted)" if hit.gone else "")))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(shown)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def visible_name(name: str) -> str:
    """A name as a terminal may show it: control characters become `�`."""
    return "".join(sign if sign.isprintable() else "�" for sign in printable_or_replaced(name))


def printable_or_replaced(name: str) -> str:
    """A name as text that can be encoded: what is no Unicode becomes `�`."""
    try:
        return printable_name(name)
    except UnicodeEncodeError:  # a lone surrogate that no file name has
        return name.encode("utf-8", "replace").decode()


def render_results_page(hits: "SearchResults", templates: Path | None = None) -> str:
    """The HTML of a page that shows the query and its hits, with nothing outside it."""
    return render_template("search.html.j2", _results_page_context(hits, PAGE_THUMBNAIL_SIDE), templates)


def render_notebook_fragment(hits: "SearchResults") -> str:
    """HTML of the hits for a notebook's cell."""
    return render_template("hits.html.j2", _results_page_context(hits, NOTEBOOK_THUMBNAIL_SIDE))


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


def _results_page_context(hits: "SearchResults", side: int) -> dict[str, Any]:
    ask, source = hits.query, hits.retriever.source
    names = [name for name in QUERY_PART_TITLES if hits.hits and name in hits.hits[0].parts]
    most = max((abs(value) for hit in hits for value in hit.parts.values()), default=0.0)
    model, gallery = hits.retriever.model, hits.retriever.gallery
    return {
        "facts": hits.facts(),
        "drawing": _query_thumbnail(ask.sketch, side),
        "photo": _query_thumbnail(ask.photo, side),
        "names": [(name, QUERY_PART_TITLES[name]) for name in names],
        "most": most,
        "cards": [
            {
                "hit": hit,
                "name": visible_name(hit.id),
                "image": None if hit.gone or source is None else _load_thumbnail(source, hit.id, side),
            }
            for hit in hits
        ],
        "settings": {
            "model": f"{printable_name(model.name)} (sha {model.sha256[:8]})",
            "index": printable_name(str(hits.retriever.folder)),
            "engine": gallery.engine,
            "photos searched": f"{hits.gallery_size:,}",
            "ssl-sbir": __version__,
        },
    }


def _query_thumbnail(given: QueryImage | None, side: int) -> images.PageImage | None:
    return None if given is None else _load_thumbnail(given, given.name, side)


def _load_thumbnail(source: ImageSource, key: str, side: int) -> images.PageImage | None:
    """The picture for a page; None where it can't be read."""
    try:
        with source.open(key, side) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (2 * side, 2 * side))
            return images.to_page_image(ImageOps.exif_transpose(image), side=side)
    except Exception:  # a hostile file makes Pillow raise nearly anything
        return None
