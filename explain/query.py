"""One query against a gallery: rank, explain, and write the page."""

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
from ssl_sbir.explain.answer import Answer
from ssl_sbir.explain.drawings import doubts, shown
from ssl_sbir.explain.explainer import Explainer
from ssl_sbir.explain.explanation import ExplainedQuery, Result
from ssl_sbir.explain.figures import SIDE
from ssl_sbir.explain.gallery import summary
from ssl_sbir.explain.methods import METHOD_NAMES
from ssl_sbir.explain.report import explanation_page
from ssl_sbir.explain.towers import Centres
from ssl_sbir.explain.words import verdict
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, page

NO_IDEAS = "none: not asked for, or nothing to name them by (classes with drawings, or a run that reads text)"


@dataclass(frozen=True)
class QueryReport:
    """The facts of one query and the pictures they speak of; a photo is None where it can't be read."""

    facts: ExplainedQuery
    drawing: Image.Image
    photos: tuple[Image.Image | None, ...]
    beaten: tuple[Image.Image | None, ...] = ()

    def save(self, path: Path, templates: Path | None = None) -> Path:
        """The path of the page, written with the same facts as `.json` beside it."""
        write_atomic(path.with_suffix(".json"), json_text(self.facts, 1) + "\n")
        html = explanation_page(self.facts, self.drawing, self.photos, templates, beaten=self.beaten)
        return page(path, html)


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
    """The best photos for one drawing and why each of them came back.

    Args:
        manifest: holds the photos, and the drawing where `query` is a key.
        query: an image file, or a sketch of the manifest by key or row number.
        classes: whose photos to search; None searches all.
        top: how many results to explain.
        methods: as in `explain_pairs`.
        centres: vectors to subtract from each domain's embeddings.
        settings: further facts for the page, such as the run and the split.
        more: further fields of `Explainer`.

    Raises:
        ExplainError: there is no such drawing, photo or method.
        DataError: the drawing can't be read.
    """
    explainer = Explainer(encoder, manifest, classes, top, methods, centres=centres, device=device, **more)
    return report_of(explainer, explainer.answer(query), settings)


def report_of(explainer: Explainer, answer: Answer, settings: dict[str, str] | None = None) -> QueryReport:
    """The facts and pictures of an answer.

    Args:
        settings: further facts for the page, such as the run and the split.
    """
    fit, manifest = explainer.encoder.preprocess.fit, explainer.manifest
    return QueryReport(
        _facts(explainer, answer, {**(settings or {}), **_settings(explainer, answer)}),
        shown(answer.asked.source, answer.asked.key, SIDE, fit),
        _photos(manifest, answer.rows, fit),
        _photos(manifest, answer.beaten, fit),
    )


def safe_name(query: str) -> str:
    """A file name for a query's page: its letters, digits, dots and dashes, without path or suffix."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", query)
    return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.")[-100:] or "query"


def _facts(explainer: Explainer, answer: Answer, settings: dict[str, str]) -> ExplainedQuery:
    asked, gallery, scores = answer.asked, explainer.gallery, summary(answer.scores)
    labels = [explainer.label(int(row)) for row in answer.rows]
    results = tuple(
        Result(rank, one.result, label, _same(asked.label, label), one)
        for rank, (one, label) in enumerate(zip(answer.known, labels, strict=True), 1)
    )
    left_out = (f"{gallery.broken} photos can't be read and were left out.",) if gallery.broken else ()
    notes = explainer.notes(answer.text) if explainer.notes else ()
    return ExplainedQuery(
        asked.id,
        asked.label,
        verdict(answer.known, scores.average),
        scores,
        results,
        settings,
        (*doubts(answer.pixels), *notes, *left_out),
        answer.text,
        answer.contrasts,
        answer.changes,
        answer.trust,
        explainer.share(answer.text) if explainer.share and answer.text else None,
    )


def _same(one: str | None, other: str | None) -> bool | None:
    return None if one is None or other is None else one == other


def _photos(manifest: Manifest, rows: npt.NDArray[np.int64], fit: str) -> tuple[Image.Image | None, ...]:
    return tuple(_photo(manifest, int(row), fit) for row in rows)


def _photo(manifest: Manifest, row: int, fit: str) -> Image.Image | None:
    try:
        return shown(manifest.source, manifest.keys[row], SIDE, fit)
    except (DataError, OSError):  # the file went after it was packed; the page says so
        return None


def _settings(explainer: Explainer, answer: Answer) -> dict[str, str]:
    encoder, known, gallery = explainer.encoder, answer.known, explainer.gallery
    size = encoder.preprocess.size
    ideas = explainer.vocabulary.source if explainer.vocabulary else NO_IDEAS
    return {
        "data": gallery.manifest.name,
        "photos searched": f"{len(gallery.rows):,}",
        "image size": f"{size} × {size} pixels ({encoder.preprocess.fit})",
        "embedding": f"{gallery.embeddings.shape[1]:,} numbers",
        "methods": ", ".join(f"{METHOD_NAMES[method]} ({method})" for method in known[0].methods)
        if known
        else "none",
        "ideas": ideas,
        "random maps a check": str(explainer.draws),
        "device": explainer.device,
        "ssl-sbir": __version__,
    }
