"""One query: rank the gallery, explain the best photos, and write the page."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ssl_sbir import __version__
from ssl_sbir.data.manifest import Manifest
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import DataError
from ssl_sbir.explain.attribution.encoded_images import Centres
from ssl_sbir.explain.attribution.method_names import METHOD_NAMES
from ssl_sbir.explain.pair.explanation import ExplainedQuery, ExplainedResult
from ssl_sbir.explain.report.explanation_page import explanation_page
from ssl_sbir.explain.report.figures import FIGURE_SIDE
from ssl_sbir.explain.report.plain_words import describe_best_match
from ssl_sbir.explain.run.explained_gallery import summarize_scores
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.run.query_drawing import describe_drawing_doubts, page_image
from ssl_sbir.explain.run.query_explanation import SearchExplanation
from ssl_sbir.explain.text.text_reading import TextReading
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, write_html_page

NO_VOCABULARY = "none: turned off, or no names to choose from (these need classes with drawings, or a run that reads text)"


@dataclass(frozen=True)
class QueryReport:
    """The facts of one query and the images for its page.

    Attributes:
        facts: the facts.
        drawing: the query's drawing; None for a text alone.
        photos: one for each result; None if it can't be read.
        beaten_photos: one for each contrast.
    """

    facts: ExplainedQuery
    drawing: Image.Image | None
    photos: tuple[Image.Image | None, ...]
    beaten_photos: tuple[Image.Image | None, ...] = ()

    def save(self, path: Path, templates: Path | None = None) -> Path:
        """Writes the page, and its facts as `.json` beside it; returns the page's path."""
        write_atomic(path.with_suffix(".json"), json_text(self.facts, 1) + "\n")
        html = explanation_page(
            self.facts, self.drawing, self.photos, templates, beaten_photos=self.beaten_photos
        )
        return write_html_page(path, html)


def explain_query(
    encoder: Encoder,
    manifest: Manifest,
    query: str,
    *,
    classes: Collection[str] | None = None,
    top: int = 5,
    methods: Sequence[str] | None = None,
    centres: Centres | None = None,
    device: str = "cpu",
    settings: dict[str, str] | None = None,
    **more: Any,
) -> QueryReport:
    """The best photos for one drawing, each with its explanation.

    Args:
        manifest: holds the photos, and the drawing if `query` is a key or row number.
        query: an image file, or a sketch of the manifest by key or row number.
        classes: whose photos to search; None searches all.
        top: number of results to explain.
        methods: as in `explain_pairs`.
        centres: vectors to subtract from each domain's embeddings.
        settings: further facts for the page, such as the run and the split.
        more: further fields of `Explainer`.

    Raises:
        ExplainError: there is no such drawing, photo or method.
        DataError: the drawing can't be read.
    """
    explainer = Explainer(encoder, manifest, classes, top, methods, centres=centres, device=device, **more)
    return build_query_report(explainer, explainer.search_and_explain(query), settings)


def build_query_report(
    explainer: Explainer, explanation: SearchExplanation, settings: dict[str, str] | None = None
) -> QueryReport:
    """The facts and images of a page.

    Args:
        settings: further facts for the page, such as the run and the split.
    """
    fit, manifest, drawing = explainer.encoder.preprocess.fit, explainer.manifest, explanation.drawing
    return QueryReport(
        _query_facts(explainer, explanation, {**(settings or {}), **_page_settings(explainer, explanation)}),
        page_image(drawing.source, drawing.key, FIGURE_SIDE, fit) if drawing else None,
        _load_row_images(manifest, explanation.rows, fit),
        _load_row_images(manifest, explanation.beaten_rows, fit),
    )


def page_file_name(query: str) -> str:
    """A file name for a query's page: its letters, digits, dots and dashes, without the suffix."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", query)
    return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.")[-100:] or "query"


def _query_facts(
    explainer: Explainer, explanation: SearchExplanation, settings: dict[str, str]
) -> ExplainedQuery:
    drawing, gallery, text = explanation.drawing, explainer.gallery, explanation.text
    own_label = drawing.label if drawing else None
    scores = summarize_scores(explanation.scores)
    labels = [explainer.row_label(int(row)) for row in explanation.rows]
    results = tuple(
        ExplainedResult(rank, one.result, label, _is_same_class(own_label, label), one)
        for rank, (one, label) in enumerate(zip(explanation.explanations, labels, strict=True), 1)
    )
    left_out = (f"{gallery.broken} photos can't be read and were left out.",) if gallery.broken else ()
    return ExplainedQuery(
        drawing.id if drawing else text,
        own_label,
        describe_best_match(explanation.explanations, scores.average),
        scores,
        results,
        settings,
        (*_describe_query_doubts(explainer, explanation), *left_out),
        text,
        explanation.contrasts,
        explanation.counterfactuals,
        explanation.trust,
        explainer.texts.sketch_share(text) if explainer.texts and drawing and text else None,
        explanation.reading,
    )


def _describe_query_doubts(explainer: Explainer, explanation: SearchExplanation) -> list[str]:
    pixels = explanation.pixels
    doubts = [] if pixels is None else list(describe_drawing_doubts(pixels))
    if explainer.texts:
        doubts += explainer.texts.describe_text(explanation.text)
    return doubts


def _is_same_class(one: str | None, other: str | None) -> bool | None:
    return None if one is None or other is None else one == other


def _load_row_images(
    manifest: Manifest, rows: npt.NDArray[np.int64], fit: str
) -> tuple[Image.Image | None, ...]:
    return tuple(_load_row_image(manifest, int(row), fit) for row in rows)


def _load_row_image(manifest: Manifest, row: int, fit: str) -> Image.Image | None:
    try:
        return page_image(manifest.source, manifest.keys[row], FIGURE_SIDE, fit)
    except (DataError, OSError):  # the file was removed after it was embedded; the page says so
        return None


def _page_settings(explainer: Explainer, explanation: SearchExplanation) -> dict[str, str]:
    encoder, gallery, reading = explainer.encoder, explainer.gallery, explanation.reading
    size = encoder.preprocess.size
    return {
        "data": gallery.manifest.name,
        "photos searched": f"{len(gallery.rows):,}",
        "image size": f"{size} × {size} pixels ({encoder.preprocess.fit})",
        "embedding": f"{gallery.embeddings.shape[1]:,} numbers",
        **({"text": _describe_text_side(reading)} if reading else {}),
        **(_drawing_settings(explainer, explanation) if explanation.drawing else {}),
        "device": explainer.device,
        "ssl-sbir": __version__,
    }


def _describe_text_side(reading: TextReading) -> str:
    return f"read by {reading.text_encoder}, as a mixture of the {reading.size:,} classes of {reading.vocabulary}"


def _drawing_settings(explainer: Explainer, explanation: SearchExplanation) -> dict[str, str]:
    explanations = explanation.explanations
    return {
        "methods": ", ".join(f"{METHOD_NAMES[method]} ({method})" for method in explanations[0].methods)
        if explanations
        else "none",
        "ideas": explainer.vocabulary.source if explainer.vocabulary else NO_VOCABULARY,
        "random maps a check": str(explainer.draws),
    }
