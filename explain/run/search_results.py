"""Explains why a search found its photos: from search results to an explanation page."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_sbir.data.manifest import Domain, ImageSource, Manifest
from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.explain.run.explain_query import QueryReport, build_query_report
from ssl_sbir.explain.run.explained_encoder import (
    describe_encoder,
    find_known_classes,
    has_trained_text_side,
)
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary, text_vocabulary
from ssl_sbir.explain.text.query_text import TextQueries
from ssl_sbir.fusion import VocabularySide
from ssl_sbir.run import RunFolder

COMPARISON_POOL_SIZE, COMPARISON_PHOTOS = 5_000, 60
UNEXPLAINED_PARTS_WARNING = (
    "Only a drawing and the positive part of a sentence are explained. The rest of the query (a photo, negated "
    "text, liked and disliked results) changed the order of the search, but not this page's."
)


@dataclass(frozen=True)
class SearchToExplain:
    """One search and its results, as far as an explanation needs them.

    Attributes:
        model_name: for the page.
        encoder: embeds drawings and photos; in evaluation mode.
        run: the model's, if any.
        open_vocabulary: gives the classes by which the model reads texts; None where it reads them in another way.
        text_encoder: a text side that drawings pass through, too, so that it is loaded; None for any other.
        open_text_side: gives the model's text side; called only where it is needed.
        device: where to compute.
        sketch: the query's drawing, or its file; None for a text alone.
        text: the positive part of the query's sentence; empty where it has no weight.
        weights: of drawing and text; None for the model's own.
        has_other_parts: whether the query also holds what the page doesn't explain.
        result_ids: ids of the photos found that can be read, best first.
        indexed_ids: ids of all photos of the index; only the first are read.
        source: opens the photos.
        index_name: for the page.
        gallery_size: how many photos were searched.
    """

    model_name: str
    encoder: Encoder
    run: RunFolder | None
    open_vocabulary: Callable[[], VocabularySide | None]
    text_encoder: Any
    open_text_side: Callable[[], Any]
    device: str
    sketch: Image.Image | Path | None
    text: str
    weights: tuple[float, float] | None
    has_other_parts: bool
    result_ids: Sequence[str]
    indexed_ids: Iterable[str]
    source: ImageSource
    index_name: str
    gallery_size: int


def explain_results(search: SearchToExplain, top: int, **more: Any) -> QueryReport:
    """Facts and pictures that explain the first results of a search.

    The results are compared with each other and with photos taken evenly from the index, so that an average means
    something. The page explains drawing and sentence; a photo, negated text and feedback are left out.

    Args:
        search: the search.
        top: how many results to explain.
        more: further fields of `Explainer`.
    """
    others = _comparison_photo_ids(search)
    known = _find_model_classes(search)
    directions = None if known is None else known.sketch
    texts = TextQueries(search.open_text_side(), search.weights, directions) if search.text else None
    explainer = Explainer(
        search.encoder,
        _photo_manifest([*search.result_ids, *others], search.source, search.index_name),
        top=top,
        texts=texts,
        device=search.device,
        **{"vocabulary": known or _read_class_names(search, texts), **more},
    )
    with tempfile.TemporaryDirectory() as folder:
        if search.sketch is None:
            explanation = explainer.search_by_text(search.text)
        else:
            explanation = explainer.search_and_explain(_sketch_file(search.sketch, Path(folder)), search.text)
        report = build_query_report(
            explainer, explanation, {"encoder": describe_encoder(search.model_name, search.encoder)}
        )
    return _with_search_facts(report, search, len(others))


def _with_search_facts(report: QueryReport, search: SearchToExplain, num_others: int) -> QueryReport:
    compared = f"compared here: the {len(search.result_ids)} that came back and {num_others} others"
    settings = {**report.facts.settings, "photos searched": f"{search.gallery_size:,}; {compared}"}
    warnings = (*report.facts.warnings, *([UNEXPLAINED_PARTS_WARNING] if search.has_other_parts else ()))
    return replace(report, facts=replace(report.facts, settings=settings, warnings=warnings))


def _find_model_classes(search: SearchToExplain) -> Vocabulary | None:
    """The classes by which the model reads texts, to name a drawing and photos by."""
    if search.sketch is None:
        return None
    with suppress(EncoderError):  # the teacher that an older run's classes come from is unavailable
        if (side := search.open_vocabulary()) is not None:
            return find_known_classes(search.encoder, search.run, side)
    return None


def _read_class_names(search: SearchToExplain, texts: TextQueries | None) -> Vocabulary | None:
    """Names of things that the model's text side reads, because an index knows no classes of its photos.

    None for a text alone, for a model without text, and where a drawing alone would need a text side that the encoder
    brings with it.
    """
    from ssl_sbir.semantics.candidate_names import class_table

    side = texts.text_tower if texts else search.text_encoder
    if side is None and has_trained_text_side(search.run):
        side = search.open_text_side()
    if side is None or search.sketch is None:
        return None
    return text_vocabulary(side, tuple(class_table()), "names of classes of published data")


def _comparison_photo_ids(search: SearchToExplain) -> list[str]:
    """Ids of some further photos, taken evenly from the first thousands of the index."""
    found = set(search.result_ids)
    ids = [photo_id for photo_id in islice(search.indexed_ids, COMPARISON_POOL_SIZE) if photo_id not in found]
    chosen = ids[:: max(1, len(ids) // COMPARISON_PHOTOS)][:COMPARISON_PHOTOS]
    paths = [(photo_id, search.source.path(photo_id)) for photo_id in chosen]
    return [photo_id for photo_id, path in paths if path is None or path.is_file()]


def _photo_manifest(ids: Sequence[str], source: ImageSource, name: str) -> Manifest:
    count = len(ids)
    return Manifest(
        name=name,
        source=source,
        keys=StringColumn.from_strings(ids),
        domain=np.full(count, int(Domain.PHOTO), np.uint8),
        label=np.full(count, -1, np.int32),
        classes=(),
        instance=np.full(count, -1, np.int64),
        texts=StringColumn.from_strings([]),
        text=np.full(count, -1, np.int32),
    )


def _sketch_file(sketch: Image.Image | Path, folder: Path) -> str:
    if not isinstance(sketch, Image.Image):
        return str(sketch)
    sketch.save(folder / "drawing.png")
    return str(folder / "drawing.png")
