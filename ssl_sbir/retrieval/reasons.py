"""Why photos came back, through the explanation room: the bridge from hits to its page."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_sbir.data.manifest import Domain, Manifest, Strings
from ssl_sbir.errors import QueryError
from ssl_sbir.retrieval.model import SearchModel
from ssl_sbir.retrieval.refusals import asked_and_refused

LOOKED_AT, OTHERS = 5_000, 60
LEFT_OUT = (
    "Only the drawing and what the sentence asks for are explained; the rest of the query (a photo, refusals, liked "
    "and disliked results) moved the search's order but not this page's."
)

if TYPE_CHECKING:
    from ssl_sbir.explain.query import QueryReport
    from ssl_sbir.retrieval.hits import Hits


def reasons(hits: "Hits", top: int, **more: Any) -> "QueryReport":
    """The facts and pictures of why the first hits came back; see `Hits.explain`.

    The hits are compared with each other and with photos taken evenly from the index, so that an average means
    something. What the page explains is the drawing with its sentence; a photo, refusals and feedback are left out.

    Raises:
        QueryError: no photo that came back is left.
    """
    from ssl_sbir.explain.explainer import Explainer
    from ssl_sbir.explain.query import report_of

    model, there = hits.retriever.model, [hit.id for hit in hits if not hit.gone]
    source = hits.retriever.source
    if not there or source is None:
        raise QueryError("no photo that came back can be read", "Put the photos back, or index again.")
    others = _others(hits)
    text, refused = asked_and_refused(hits.ask.text)
    if not dict(hits.ask.weights).get("text", 1.0):
        text = ""
    texts = _texts(hits) if text else None
    explainer = Explainer(
        model.encoder,
        _photos([*there, *others], source, str(hits.retriever.folder)),
        top=top,
        fuse=texts,
        notes=texts.notes if texts else None,
        share=texts.share if texts else None,
        device=model.device,
        **{"vocabulary": _vocabulary(model), **more},
    )
    settings = {"encoder": model.name}
    with tempfile.TemporaryDirectory() as folder:
        report = report_of(explainer, explainer.answer(_file(hits, Path(folder)), text), settings)
    compared = f"{hits.searched:,}; compared here: the {len(there)} that came back and {len(others)} others"
    settings = {**report.facts.settings, "photos searched": compared}
    left_out = bool(refused or hits.ask.without or hits.ask.like or hits.ask.unlike or hits.ask.photo)
    warnings = (*report.facts.warnings, *([LEFT_OUT] if left_out else ()))
    return replace(report, facts=replace(report.facts, settings=settings, warnings=warnings))


def _vocabulary(model: SearchModel) -> Any:
    """Names of things, for a model that reads them: an index knows no classes of its photos."""
    from ssl_sbir.explain.vocabulary import text_vocabulary
    from ssl_sbir.semantics.names import class_table

    if model.texts is None:
        return None
    return text_vocabulary(model.texts, tuple(class_table()), "names of classes of published data")


def _others(hits: "Hits") -> list[str]:
    """Ids of some further photos, evenly taken from the first thousands of the index."""
    shown, source = {hit.id for hit in hits}, hits.retriever.source
    names = [name for name, _ in islice(hits.retriever.gallery.items(), LOOKED_AT) if name not in shown]
    chosen = names[:: max(1, len(names) // OTHERS)][:OTHERS]
    paths = [(name, source.path(name) if source else None) for name in chosen]
    return [name for name, path in paths if path is None or path.is_file()]


def _photos(ids: Sequence[str], source: Any, name: str) -> Manifest:
    none, count = Strings.of([]), len(ids)
    return Manifest(
        name=name,
        source=source,
        keys=Strings.of(ids),
        domain=np.full(count, int(Domain.PHOTO), np.uint8),
        label=np.full(count, -1, np.int32),
        classes=(),
        instance=np.full(count, -1, np.int64),
        texts=none,
        text=np.full(count, -1, np.int32),
    )


def _file(hits: "Hits", folder: Path) -> str:
    drawing = hits.ask.sketch
    assert drawing is not None
    if drawing.image is None:
        return str(drawing.file)
    drawing.image.save(folder / "drawing.png")
    return str(folder / "drawing.png")


def _texts(hits: "Hits") -> Any:
    """The drawing with changed texts, at the weights of the search."""
    from ssl_sbir.explain.texts import TextSide

    weights = dict(hits.ask.weights)
    both = (weights.get("sketch", 1.0), weights.get("text", 1.0)) if weights else None
    return TextSide(hits.retriever.model.texts, both)
