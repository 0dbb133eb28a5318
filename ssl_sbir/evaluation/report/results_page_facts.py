"""The results page: one self-contained file, or a folder with the thumbnails beside it if they are large."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.manifest import ManifestRows
from ssl_sbir.evaluation.metrics.confusion import Confusion, compute_confusion
from ssl_sbir.evaluation.metrics.split_evaluation import SplitEvaluation
from ssl_sbir.evaluation.report.embedding_map import EmbeddingMap, embedding_map
from ssl_sbir.evaluation.report.text_charts import text_charts
from ssl_sbir.evaluation.report.thumbnail_sheets import (
    SHEET_COLUMNS,
    THUMBNAIL_SIDE,
    THUMBNAILS_PER_SHEET,
    ThumbnailSheets,
    build_sheets,
)
from ssl_sbir.reports.render import render_template
from ssl_sbir.reports.svg_charts import (
    ScatterPoint,
    StripValue,
    heat_table,
    scale_axis,
    scatter_plot,
    strip_chart,
    top_of_scale,
)

PAGE_BYTES = 16_000_000  # larger thumbnails are written to files beside the page
BROWSED_SKETCHES = 5000  # most sketches in the browser
HEAT_CLASSES = 60  # most classes for which the whole confusion table is drawn


def write_evaluation_page(evaluation: SplitEvaluation, folder: Path, templates: Path | None = None) -> None:
    """Writes `index.html` into a folder, and `thumbs/` if the thumbnails take more than 16 MB."""
    browsed, flat = select_browser_queries(evaluation), embedding_map(evaluation.features)
    test = evaluation.test_set
    shown = np.unique(evaluation.ranking.ids[browsed].cpu().numpy())
    queries, gallery = np.concatenate([browsed, flat.queries]), np.concatenate([shown, flat.gallery])
    thumbnails = build_sheets(test.pack, np.concatenate([test.queries[queries], test.gallery[gallery]]))
    facts = evaluation_page_facts(evaluation, browsed, flat, thumbnails)
    inline = sum(map(len, thumbnails.images)) * 4 // 3 <= PAGE_BYTES
    facts["sheets"] = [
        _sheet_address(image, number, None if inline else folder)
        for number, image in enumerate(thumbnails.images)
    ]
    page = render_template("evaluation.html.j2", facts, templates)
    (folder / "index.html").write_text(page, encoding="utf-8")


def select_browser_queries(evaluation: SplitEvaluation) -> ManifestRows:
    """Sketches for the browser, worst first: all, or half of them the worst and half evenly spread over the rest."""
    values = _headline_values(evaluation)
    order = np.argsort(np.nan_to_num(values, nan=-1.0), kind="stable")
    if len(order) <= BROWSED_SKETCHES:
        return order
    half = BROWSED_SKETCHES // 2
    rest = order[half:]
    return np.concatenate([order[:half], rest[np.linspace(0, len(rest) - 1, half).astype(int)]])


def evaluation_page_facts(
    evaluation: SplitEvaluation, browsed: ManifestRows, flat: EmbeddingMap, thumbnails: ThumbnailSheets
) -> dict[str, Any]:
    """The names that the template uses, except the sheets."""
    facts, confusion = evaluation.facts, compute_confusion(evaluation.features, evaluation.ranking)
    scale_end = top_of_scale(_plotted_values(facts))
    return {
        "facts": facts,
        "bars": _protocol_strips(facts, scale_end),
        "scale": scale_axis(scale_end),
        "classes": _class_rows(facts, scale_end),
        "confusion": confusion,
        "heat": _confusion_heat_table(confusion),
        "maps": {name: scatter_plot(_map_points(flat, name)) for name in flat.coordinates},
        "labels": {name: _map_labels(evaluation, flat, name) for name in flat.coordinates},
        "browser": _browser_data(evaluation, browsed, flat, thumbnails),
        "total": len(evaluation.test_set.queries),
        "text": text_charts(facts["audits"].get("text dominance")),
        "thumb": {"side": THUMBNAIL_SIDE, "columns": SHEET_COLUMNS, "sheet": THUMBNAILS_PER_SHEET},
    }


def _headline_values(evaluation: SplitEvaluation) -> npt.NDArray[np.float64]:
    """The value that sketches are sorted by: average precision under `standard`, or else the first metric."""
    values = evaluation.result.values
    columns = values.get("standard") or next(iter(values.values()))
    return next(iter(columns.values())).cpu().numpy()


def _plotted_values(facts: dict[str, Any]) -> list[float]:
    """All values that the strips may show."""
    rows = [one["metrics"].get("standard mAP@all", 0.0) for one in facts["classes"]]
    rows += [
        interval["high"]
        for one in facts["protocols"].values()
        for interval in one["interval_queries"].values()
    ]
    return rows + [value for one in (facts["frozen"] or {}).values() for value in one.values()]


def _protocol_strips(facts: dict[str, Any], scale_end: float) -> list[dict[str, Any]]:
    rows = []
    for name, one in facts["protocols"].items():
        metric = next(m for m in ("mAP@all", "mAP@200", "P@100", *one) if m in one)
        frozen = (facts["frozen"] or {}).get(name, {}).get(metric)
        interval = one["interval_queries"][metric]
        chance = facts["chance"].get("mAP@all") if metric == "mAP@all" and name == "standard" else None
        bar = strip_chart(
            StripValue(one[metric], scale_end, interval["low"], interval["high"], frozen, chance)
        )
        rows.append({"name": name, "metric": metric, "value": one[metric], "frozen": frozen, "bar": bar})
    return rows


def _class_rows(facts: dict[str, Any], scale_end: float) -> list[dict[str, Any]]:
    rows = []
    for one in facts["classes"]:
        metrics = one["metrics"]
        first = next((m for m in ("standard mAP@all", *metrics) if m in metrics), None)
        value = metrics[first] if first else None
        chance = one["photos"] / facts["counts"]["gallery"]
        bar = strip_chart(StripValue(value, scale_end, chance=chance)) if value is not None else ""
        rows.append({**one, "value": value, "bar": bar})
    return sorted(rows, key=lambda row: -1.0 if row["value"] is None else row["value"])


def _confusion_heat_table(confusion: Confusion) -> Markup | None:
    if len(confusion.names) > HEAT_CLASSES:
        return None
    return heat_table(confusion.table.tolist(), [_display_name(name) for name in confusion.names])


def _map_points(flat: EmbeddingMap, name: str) -> list[ScatterPoint]:
    return [
        ScatterPoint(float(x), float(y), "sketch" if number < len(flat.queries) else "photo", number)
        for number, (x, y) in enumerate(flat.coordinates[name])
    ]


def _map_labels(evaluation: SplitEvaluation, flat: EmbeddingMap, name: str) -> list[dict[str, Any]]:
    """The median of each class's photos, where its name is written."""
    labels = evaluation.features.gallery_labels.cpu().numpy()[flat.gallery]
    photos = flat.coordinates[name][len(flat.queries) :]
    return [
        {"name": _display_name(evaluation.features.classes[label]), "x": float(x), "y": float(y)}
        for label in np.unique(labels)
        for x, y in [np.median(photos[labels == label], axis=0)]
    ]


def _browser_data(
    evaluation: SplitEvaluation, browsed: ManifestRows, flat: EmbeddingMap, thumbnails: ThumbnailSheets
) -> dict[str, Any]:
    """Sketches and their results by number, for the page's script; thumbnails by their index on the sheets."""
    test, features, ranking = evaluation.test_set, evaluation.features, evaluation.ranking
    classes = features.query_labels.cpu().numpy()
    ids = ranking.ids[browsed].cpu().numpy()
    results = thumbnails.thumbnail_indices(test.gallery[ids])
    points = np.concatenate([test.queries[flat.queries], test.gallery[flat.gallery]])
    photos = np.unique(results)
    photo_labels = _feature_labels_of_rows(evaluation, thumbnails.rows[photos])
    return {
        "names": [_display_name(name) for name in features.classes],
        "sketches": thumbnails.thumbnail_indices(test.queries[browsed]).tolist(),
        "labels": classes[browsed].tolist(),
        "values": [
            None if np.isnan(v) else round(float(v), 4) for v in _headline_values(evaluation)[browsed]
        ],
        "keys": [printable_name(test.manifest.keys[int(row)]) for row in test.queries[browsed]],
        "results": results.tolist(),
        "scores": [[round(score, 3) for score in row] for row in ranking.scores[browsed].tolist()],
        "photos": {
            int(index): [int(label), printable_name(test.manifest.keys[int(thumbnails.rows[index])])]
            for index, label in zip(photos, photo_labels, strict=True)
        },
        "points": {
            "pictures": thumbnails.thumbnail_indices(points).tolist(),
            "labels": _feature_labels_of_rows(evaluation, points).tolist(),
            "sketches": len(flat.queries),
            "keys": [printable_name(test.manifest.keys[int(row)]) for row in points],
        },
    }


def _feature_labels_of_rows(evaluation: SplitEvaluation, rows: ManifestRows) -> npt.NDArray[np.int64]:
    """The labels of rows, as indices into the class names of the features."""
    manifest = evaluation.test_set.manifest
    index = {name: number for number, name in enumerate(evaluation.features.classes)}
    table = np.array([index.get(name, -1) for name in manifest.classes])
    return table[manifest.label[rows]]


def _sheet_address(image: bytes, number: int, folder: Path | None) -> str:
    if folder is None:
        return f"data:image/webp;base64,{base64.b64encode(image).decode()}"
    file = folder / "thumbs" / f"{number:03}.webp"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(image)
    return f"thumbs/{file.name}"


def _display_name(name: str) -> str:
    return name.replace("_", " ")
