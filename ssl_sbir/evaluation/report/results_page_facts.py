"""The results page: one file that holds everything, or a folder where the thumbnails would make it too large."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.evaluation.evaluate_run import SplitEvaluation
from ssl_sbir.evaluation.metrics.confusion import Confusion, compute_confusion
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

PAGE_BYTES = 16_000_000  # thumbnails beyond this go into files beside the page
BROWSED_SKETCHES = 5000  # sketches of the browser; more are thinned out
HEAT_CLASSES = 60  # classes up to which the whole confusion table is drawn
PageRows = npt.NDArray[np.int64]


def write_evaluation_page(evaluation: SplitEvaluation, folder: Path, templates: Path | None = None) -> None:
    """Writes `index.html` and, where thumbnails take more than 16 MB, `thumbs/` into a folder."""
    browsed, flat = select_browser_queries(evaluation), embedding_map(evaluation.features)
    test = evaluation.test_set
    shown = np.unique(evaluation.ranking.ids[browsed].cpu().numpy())
    pictures = build_sheets(
        test.pack,
        np.concatenate(
            [
                test.queries[browsed],
                test.gallery[shown],
                test.queries[flat.queries],
                test.gallery[flat.gallery],
            ]
        ),
    )
    facts = evaluation_page_facts(evaluation, browsed, flat, pictures)
    whole = sum(map(len, pictures.images)) * 4 // 3 <= PAGE_BYTES
    facts["sheets"] = [
        _sheet_address(image, number, None if whole else folder)
        for number, image in enumerate(pictures.images)
    ]
    (folder / "index.html").write_text(
        render_template("evaluation.html.j2", facts, templates), encoding="utf-8"
    )


def select_browser_queries(evaluation: SplitEvaluation) -> PageRows:
    """Sketches for the browser, worst first: all of them, or half the worst and half evenly spread over the rest."""
    values = _headline_values(evaluation)
    order = np.argsort(np.nan_to_num(values, nan=-1.0), kind="stable")
    if len(order) <= BROWSED_SKETCHES:
        return order
    rest = order[BROWSED_SKETCHES // 2 :]
    return np.concatenate(
        [
            order[: BROWSED_SKETCHES // 2],
            rest[np.linspace(0, len(rest) - 1, BROWSED_SKETCHES // 2).astype(int)],
        ]
    )


def evaluation_page_facts(
    evaluation: SplitEvaluation, browsed: PageRows, flat: EmbeddingMap, pictures: ThumbnailSheets
) -> dict[str, Any]:
    """What the template draws, but for the sheets."""
    facts, mixed = evaluation.facts, compute_confusion(evaluation.features, evaluation.ranking)
    most = top_of_scale(_plotted_values(facts))
    return {
        "facts": facts,
        "bars": _protocol_strips(facts, most),
        "scale": scale_axis(most),
        "classes": _class_rows(facts, most),
        "confusion": mixed,
        "heat": heat_table(mixed.table.tolist(), [_display_name(n) for n in mixed.names])
        if _fits_heat_table(mixed)
        else None,
        "maps": {name: scatter_plot(_map_points(flat, name)) for name in flat.coordinates},
        "labels": {name: _map_labels(evaluation, flat, name) for name in flat.coordinates},
        "browser": _browser_data(evaluation, browsed, flat, pictures),
        "total": len(evaluation.test_set.queries),
        "text": text_charts(facts["audits"].get("text dominance")),
        "thumb": {"side": THUMBNAIL_SIDE, "columns": SHEET_COLUMNS, "sheet": THUMBNAILS_PER_SHEET},
    }


def _headline_values(evaluation: SplitEvaluation) -> npt.NDArray[np.float64]:
    """The value that sketches are sorted by: `standard`'s average precision, or the first metric there is."""
    values = evaluation.result.values
    columns = values.get("standard") or next(iter(values.values()))
    return next(iter(columns.values())).cpu().numpy()


def _plotted_values(facts: dict[str, Any]) -> list[float]:
    """All values that strips may have to show."""
    rows = [one["metrics"].get("standard mAP@all", 0.0) for one in facts["classes"]]
    rows += [
        interval["high"]
        for one in facts["protocols"].values()
        for interval in one["interval_queries"].values()
    ]
    return rows + [value for one in (facts["frozen"] or {}).values() for value in one.values()]


def _protocol_strips(facts: dict[str, Any], most: float) -> list[dict[str, Any]]:
    rows = []
    for name, one in facts["protocols"].items():
        metric = next(m for m in ("mAP@all", "mAP@200", "P@100", *one) if m in one)
        frozen = (facts["frozen"] or {}).get(name, {}).get(metric)
        interval = one["interval_queries"][metric]
        chance = facts["chance"].get("mAP@all") if metric == "mAP@all" and name == "standard" else None
        bar = strip_chart(StripValue(one[metric], most, interval["low"], interval["high"], frozen, chance))
        rows.append({"name": name, "metric": metric, "value": one[metric], "frozen": frozen, "bar": bar})
    return rows


def _class_rows(facts: dict[str, Any], most: float) -> list[dict[str, Any]]:
    rows = []
    for one in facts["classes"]:
        metrics = one["metrics"]
        first = next((m for m in ("standard mAP@all", *metrics) if m in metrics), None)
        value = metrics[first] if first else None
        chance = one["photos"] / facts["counts"]["gallery"]
        bar = strip_chart(StripValue(value, most, chance=chance)) if value is not None else ""
        rows.append({**one, "value": value, "bar": bar})
    return sorted(rows, key=lambda row: -1.0 if row["value"] is None else row["value"])


def _fits_heat_table(mixed: Confusion) -> bool:
    return len(mixed.names) <= HEAT_CLASSES


def _map_points(flat: EmbeddingMap, name: str) -> list[ScatterPoint]:
    return [
        ScatterPoint(float(x), float(y), "sketch" if number < len(flat.queries) else "photo", number)
        for number, (x, y) in enumerate(flat.coordinates[name])
    ]


def _map_labels(evaluation: SplitEvaluation, flat: EmbeddingMap, name: str) -> list[dict[str, Any]]:
    """The middle of each class's photos, to write its name there."""
    labels = evaluation.features.gallery_labels.cpu().numpy()[flat.gallery]
    places = flat.coordinates[name][len(flat.queries) :]
    return [
        {"name": _display_name(evaluation.features.classes[label]), "x": float(x), "y": float(y)}
        for label in np.unique(labels)
        for x, y in [np.median(places[labels == label], axis=0)]
    ]


def _browser_data(
    evaluation: SplitEvaluation, browsed: PageRows, flat: EmbeddingMap, pictures: ThumbnailSheets
) -> dict[str, Any]:
    """Sketches and their results by number, for the page's script; pictures by their place on the sheets."""
    test, features, ranking = evaluation.test_set, evaluation.features, evaluation.ranking
    classes = features.query_labels.cpu().numpy()
    ids = ranking.ids[browsed].cpu().numpy()
    found = pictures.thumbnail_indices(test.gallery[ids])
    points = np.concatenate([test.queries[flat.queries], test.gallery[flat.gallery]])
    photos = np.unique(found)
    return {
        "names": [_display_name(name) for name in features.classes],
        "sketches": pictures.thumbnail_indices(test.queries[browsed]).tolist(),
        "labels": classes[browsed].tolist(),
        "values": [
            None if np.isnan(v) else round(float(v), 4) for v in _headline_values(evaluation)[browsed]
        ],
        "keys": [printable_name(test.manifest.keys[int(row)]) for row in test.queries[browsed]],
        "results": found.tolist(),
        "scores": [[round(score, 3) for score in row] for row in ranking.scores[browsed].tolist()],
        "photos": {
            int(place): [int(label), printable_name(test.manifest.keys[int(pictures.rows[place])])]
            for place, label in zip(
                photos, _feature_labels_of_rows(evaluation, pictures.rows[photos]), strict=True
            )
        },
        "points": {
            "pictures": pictures.thumbnail_indices(points).tolist(),
            "labels": _feature_labels_of_rows(evaluation, points).tolist(),
            "sketches": len(flat.queries),
            "keys": [printable_name(test.manifest.keys[int(row)]) for row in points],
        },
    }


def _feature_labels_of_rows(evaluation: SplitEvaluation, rows: PageRows) -> npt.NDArray[np.int64]:
    """The labels of rows, as indices into the names of the features."""
    manifest = evaluation.test_set.manifest
    place = {name: number for number, name in enumerate(evaluation.features.classes)}
    table = np.array([place.get(name, -1) for name in manifest.classes])
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
