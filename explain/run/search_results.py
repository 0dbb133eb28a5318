"""Explains why a search found its photos: from search results to an explanation page."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_sbir.data.manifest import Domain, ImageSource, Manifest
from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.run.explain_query import QueryReport, build_query_report
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary, text_vocabulary
from ssl_sbir.explain.text.query_text import SketchTextFuser

COMPARISON_POOL_SIZE, COMPARISON_PHOTOS = 5_000, 60
UNEXPLAINED_PARTS_WARNING = (
    "Only the drawing and the positive part of the sentence are explained; the rest of the query (a photo, negated "
    "text, liked and disliked results) changed the order of the search but not this page's."
)


@dataclass(frozen=True)
class SearchToExplain:
    """One search and its results, as far as an explanation needs them.

    Attributes:
        model_name: for the page.
        encoder: embeds drawings and photos; in evaluation mode.
        text_encoder: the model's text side; None for a model without text.
        device: where to compute.
        sketch: the query's drawing, or its file.
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
    text_encoder: Any
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
    something. The page explains the drawing with its sentence; a photo, negated text and feedback are left out.

    Args:
        search: the search.
        top: how many results to explain.
        more: further fields of `Explainer`.
    """
    others = _comparison_photo_ids(search)
    fuser = SketchTextFuser(search.text_encoder, search.weights) if search.text else None
    explainer = Explainer(
        search.encoder,
        _photo_manifest([*search.result_ids, *others], search.source, search.index_name),
        top=top,
        fuse=fuser,
        describe_text=fuser.describe_text if fuser else None,
        sketch_share=fuser.sketch_share if fuser else None,
        device=search.device,
        **{"vocabulary": _class_name_vocabulary(search.text_encoder), **more},
    )
    with tempfile.TemporaryDirectory() as folder:
        explanation = explainer.search_and_explain(_sketch_file(search.sketch, Path(folder)), search.text)
        report = build_query_report(explainer, explanation, {"encoder": search.model_name})
    return _with_search_facts(report, search, len(others))


def _with_search_facts(report: QueryReport, search: SearchToExplain, num_others: int) -> QueryReport:
    compared = f"compared here: the {len(search.result_ids)} that came back and {num_others} others"
    settings = {**report.facts.settings, "photos searched": f"{search.gallery_size:,}; {compared}"}
    warnings = (*report.facts.warnings, *([UNEXPLAINED_PARTS_WARNING] if search.has_other_parts else ()))
    return replace(report, facts=replace(report.facts, settings=settings, warnings=warnings))


def _class_name_vocabulary(text_encoder: Any) -> Vocabulary | None:
    """Names of things, for a model that reads text: an index knows no classes of its photos."""
    from ssl_sbir.semantics.candidate_names import class_table

    if text_encoder is None:
        return None
    return text_vocabulary(text_encoder, tuple(class_table()), "names of classes of published data")


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


def _sketch_file(sketch: Image.Image | Path | None, folder: Path) -> str:
    if not isinstance(sketch, Image.Image):
        return str(sketch)
    sketch.save(folder / "drawing.png")
    return str(folder / "drawing.png")
