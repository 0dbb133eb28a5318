"""Hits as people see them: a table, thumbnails in a notebook, a page of its own."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import ImageOps
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssl_sbir import __version__
from ssl_sbir.data.images import MAX_PIXELS
from ssl_sbir.data.manifest import ImageSource
from ssl_sbir.data.names import printable
from ssl_sbir.reports import images
from ssl_sbir.reports.render import render
from ssl_sbir.retrieval.pictures import Picture

if TYPE_CHECKING:
    from ssl_sbir.retrieval.hits import Hits

SIDE, SMALL = 384, 128  # pixels of a picture on a page, and in a notebook
# How a part of a query is called; the order in which parts are shown.
PARTS = {
    "sketch": "drawing",
    "text": "text",
    "photo": "photo",
    "like": "liked photos",
    "unlike": "disliked photos",
    "without": "refused text",
}


def table(hits: "Hits", width: int = 120) -> str:
    """The hits as a table in plain text, without a line break at its end."""
    parts = [name for name in PARTS if hits.hits and name in hits.hits[0].parts]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "score", *(PARTS[part] for part in parts)):
        shown.add_column(name, justify="right")
    shown.add_column("photo", overflow="fold")
    for hit in hits:
        numbers = [str(hit.rank), f"{hit.score:.3f}", *(f"{hit.parts[part]:+.3f}" for part in parts)]
        shown.add_row(*numbers, Text(visible(hit.id) + (" (deleted)" if hit.gone else "")))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(shown)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def visible(name: str) -> str:
    """A name as a terminal may show it: control characters become `�`."""
    return "".join(sign if sign.isprintable() else "�" for sign in printable_or_replaced(name))


def printable_or_replaced(name: str) -> str:
    """A name as text that can be encoded: what is no Unicode becomes `�`."""
    try:
        return printable(name)
    except UnicodeEncodeError:  # a lone surrogate that no file name has
        return name.encode("utf-8", "replace").decode()


def sheet(hits: "Hits", templates: Path | None = None) -> str:
    """The HTML of a page that shows the query and its hits, with nothing outside it."""
    return render("search.html.j2", _facts(hits, SIDE), templates)


def fragment(hits: "Hits") -> str:
    """HTML of the hits for a notebook's cell."""
    return render("hits.html.j2", _facts(hits, SMALL))


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return type(get_ipython()).__name__ == "ZMQInteractiveShell"


def _facts(hits: "Hits", side: int) -> dict[str, Any]:
    ask, source = hits.ask, hits.retriever.source
    names = [name for name in PARTS if hits.hits and name in hits.hits[0].parts]
    most = max((abs(value) for hit in hits for value in hit.parts.values()), default=0.0)
    model, gallery = hits.retriever.model, hits.retriever.gallery
    return {
        "facts": hits.facts(),
        "drawing": _of_query(ask.sketch, side),
        "photo": _of_query(ask.photo, side),
        "names": [(name, PARTS[name]) for name in names],
        "most": most,
        "cards": [
            {
                "hit": hit,
                "name": visible(hit.id),
                "image": None if hit.gone or source is None else _thumb(source, hit.id, side),
            }
            for hit in hits
        ],
        "settings": {
            "model": f"{printable(model.name)} (sha {model.sha256[:8]})",
            "index": printable(str(hits.retriever.folder)),
            "engine": gallery.engine,
            "photos searched": f"{hits.searched:,}",
            "ssl-sbir": __version__,
        },
    }


def _of_query(given: Picture | None, side: int) -> images.Picture | None:
    return None if given is None else _thumb(given, given.name, side)


def _thumb(source: ImageSource, key: str, side: int) -> images.Picture | None:
    """The picture for a page; None where it can't be read."""
    try:
        with source.open(key, side) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (2 * side, 2 * side))
            return images.picture(ImageOps.exif_transpose(image), side=side)
    except Exception:  # a hostile file makes Pillow raise nearly anything
        return None
