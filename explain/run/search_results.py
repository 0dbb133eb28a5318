"""Why photos came back, through the explanation room: the bridge from hits to its page."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_sbir.data.manifest import Domain, Manifest, StringColumn
from ssl_sbir.errors import QueryError
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.negation import split_negations

COMPARISON_POOL_SIZE, COMPARISON_PHOTOS = 5_000, 60
UNEXPLAINED_PARTS_WARNING = (
    "Only the drawing and what the sentence asks for are explained; the rest of the query (a photo, refusals, liked "
    "and disliked results) moved the search's order but not this page's."
)

if TYPE_CHECKING:
    from ssl_sbir.explain.run.explain_query import QueryReport
    from ssl_sbir.search.results import SearchResults


def explain_results(hits: "SearchResults", top: int, **more: Any) -> "QueryReport":
    """The facts and pictures of why the first hits came back; see `Hits.explain`.

    The hits are compared with each other and with photos taken evenly from the index, so that an average means
    something. What the page explains is the drawing with its sentence; a photo, refusals and feedback are left out.

    Raises:
        QueryError: no photo that came back is left.
    """
    from ssl_sbir.explain.run.explain_query import build_query_report
    from ssl_sbir.explain.run.explainer import Explainer

    model, there = hits.retriever.model, [hit.id for hit in hits if not hit.gone]
    source = hits.retriever.source
    if not there or source is None:
        raise QueryError("no photo that came back can be read", "Put the photos back, or index again.")
    others = _comparison_photo_ids(hits)
    text, refused = split_negations(hits.query.text)
    if not dict(hits.query.weights).get("text", 1.0):
        text = ""
    texts = _weighted_text_fuser(hits) if text else None
    explainer = Explainer(
        model.encoder,
        _photo_manifest([*there, *others], source, str(hits.retriever.folder)),
        top=top,
        fuse=texts,
        describe_text=texts.notes if texts else None,
        sketch_share=texts.share if texts else None,
        device=model.device,
        **{"vocabulary": _class_name_vocabulary(model), **more},
    )
    settings = {"encoder": model.name}
    with tempfile.TemporaryDirectory() as folder:
        report = build_query_report(
            explainer, explainer.search_and_explain(_sketch_file(hits, Path(folder)), text), settings
        )
    compared = (
        f"{hits.gallery_size:,}; compared here: the {len(there)} that came back and {len(others)} others"
    )
    settings = {**report.facts.settings, "photos searched": compared}
    left_out = bool(refused or hits.query.without or hits.query.like or hits.query.unlike or hits.query.photo)
    warnings = (*report.facts.warnings, *([UNEXPLAINED_PARTS_WARNING] if left_out else ()))
    return replace(report, facts=replace(report.facts, settings=settings, warnings=warnings))


def _class_name_vocabulary(model: SearchModel) -> Any:
    """Names of things, for a model that reads them: an index knows no classes of its photos."""
    from ssl_sbir.explain.text.concept_vocabulary import text_vocabulary
    from ssl_sbir.semantics.candidate_names import class_table

    if model.text_encoder is None:
        return None
    return text_vocabulary(model.text_encoder, tuple(class_table()), "names of classes of published data")


def _comparison_photo_ids(hits: "SearchResults") -> list[str]:
    """Ids of some further photos, evenly taken from the first thousands of the index."""
    shown, source = {hit.id for hit in hits}, hits.retriever.source
    names = [
        name for name, _ in islice(hits.retriever.gallery.items(), COMPARISON_POOL_SIZE) if name not in shown
    ]
    chosen = names[:: max(1, len(names) // COMPARISON_PHOTOS)][:COMPARISON_PHOTOS]
    paths = [(name, source.path(name) if source else None) for name in chosen]
    return [name for name, path in paths if path is None or path.is_file()]


def _photo_manifest(ids: Sequence[str], source: Any, name: str) -> Manifest:
    none, count = StringColumn.from_strings([]), len(ids)
    return Manifest(
        name=name,
        source=source,
        keys=StringColumn.from_strings(ids),
        domain=np.full(count, int(Domain.PHOTO), np.uint8),
        label=np.full(count, -1, np.int32),
        classes=(),
        instance=np.full(count, -1, np.int64),
        texts=none,
        text=np.full(count, -1, np.int32),
    )


def _sketch_file(hits: "SearchResults", folder: Path) -> str:
    drawing = hits.query.sketch
    assert drawing is not None
    if drawing.image is None:
        return str(drawing.file)
    drawing.image.save(folder / "drawing.png")
    return str(folder / "drawing.png")


def _weighted_text_fuser(hits: "SearchResults") -> Any:
    """The drawing with changed texts, at the weights of the search."""
    from ssl_sbir.explain.text.query_text import SketchTextFuser

    weights = dict(hits.query.weights)
    both = (weights.get("sketch", 1.0), weights.get("text", 1.0)) if weights else None
    return SketchTextFuser(hits.retriever.model.text_encoder, both)
