"""One drawing against a gallery: rank, explain, and write the page."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ssl_sbir import __version__
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.names import printable
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import DataError
from ssl_sbir.explain.drawings import Drawing, doubts, drawing, shown
from ssl_sbir.explain.explanation import ExplainedQuery, Explanation, GalleryScores, Result
from ssl_sbir.explain.gallery import PhotoGallery, best, photo_gallery, summary
from ssl_sbir.explain.pairs import explain_pairs
from ssl_sbir.explain.report import SIDE, explanation_page
from ssl_sbir.explain.towers import Centres, tower
from ssl_sbir.explain.words import METHOD_NAMES, verdict
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, page


@dataclass(frozen=True)
class QueryReport:
    """The facts of one query and the pictures they speak of; a photo is None where it can't be read."""

    facts: ExplainedQuery
    drawing: Image.Image
    photos: tuple[Image.Image | None, ...]

    def save(self, path: Path, templates: Path | None = None) -> Path:
        """The path of the page, written with the same facts as `.json` beside it."""
        write_atomic(path.with_suffix(".json"), json_text(self.facts, 1) + "\n")
        return page(path, explanation_page(self.facts, self.drawing, self.photos, templates))


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

    Raises:
        ExplainError: there is no such drawing, photo or method.
        DataError: the drawing can't be read.
    """
    asked = drawing(query, manifest)
    fit = encoder.preprocess.fit
    pixels = asked.pixels(encoder.preprocess.size, fit)
    encoder = encoder.to(device).eval()
    gallery = photo_gallery(encoder, manifest, classes, centres=centres, device=device)
    sketch = torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(device).float() / 255
    scores = gallery.scores(tower(encoder, sketch[None], Domain.SKETCH, centres).embedding[0])
    rows = gallery.rows[places := best(scores, top)]
    known = explain_pairs(
        encoder,
        sketch,
        gallery.images(places).to(device),
        methods=methods,
        query=asked.id,
        results=[printable(manifest.keys[int(row)]) for row in rows],
        centres=centres,
    )
    computed = {**(settings or {}), **_settings(encoder, gallery, known, device)}
    facts = _facts(asked, gallery, rows, known, summary(scores), computed, doubts(pixels))
    photos = tuple(_photo(manifest, int(row), fit) for row in rows)
    return QueryReport(facts, shown(asked.source, asked.key, SIDE, fit), photos)


def safe_name(query: str) -> str:
    """A file name for a query's page: its letters, digits, dots and dashes, without path or suffix."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", query)
    return re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.")[-100:] or "query"


def _facts(
    asked: Drawing,
    gallery: PhotoGallery,
    rows: npt.NDArray[np.int64],
    known: Sequence[Explanation],
    scores: GalleryScores,
    settings: dict[str, str],
    doubtful: tuple[str, ...],
) -> ExplainedQuery:
    labels = [_label(gallery.manifest, int(row)) for row in rows]
    results = tuple(
        Result(rank, one.result, label, _same(asked.label, label), one)
        for rank, (one, label) in enumerate(zip(known, labels, strict=True), 1)
    )
    warnings = (*doubtful, *_left_out(gallery))
    return ExplainedQuery(
        asked.id, asked.label, verdict(known, scores.average), scores, results, settings, warnings
    )


def _label(manifest: Manifest, row: int) -> str | None:
    number = int(manifest.label[row])
    return manifest.classes[number] if number >= 0 else None


def _same(one: str | None, other: str | None) -> bool | None:
    return None if one is None or other is None else one == other


def _photo(manifest: Manifest, row: int, fit: str) -> Image.Image | None:
    try:
        return shown(manifest.source, manifest.keys[row], SIDE, fit)
    except (DataError, OSError):  # the file went after it was packed; the page says so
        return None


def _left_out(gallery: PhotoGallery) -> tuple[str, ...]:
    return (f"{gallery.broken} photos can't be read and were left out.",) if gallery.broken else ()


def _settings(
    encoder: Encoder, gallery: PhotoGallery, known: Sequence[Explanation], device: str
) -> dict[str, str]:
    size = encoder.preprocess.size
    return {
        "data": gallery.manifest.name,
        "photos searched": f"{len(gallery.rows):,}",
        "image size": f"{size} × {size} pixels ({encoder.preprocess.fit})",
        "embedding": f"{gallery.embeddings.shape[1]:,} numbers",
        "methods": ", ".join(METHOD_NAMES[method] for method in known[0].methods) if known else "none",
        "device": device,
        "ssl-sbir": __version__,
    }
