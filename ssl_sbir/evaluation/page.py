"""The results page: one file that holds everything, or a folder where the thumbnails would make it too large."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sbir.data.names import printable
from ssl_sbir.evaluation.confusion import Confusion, confusion
from ssl_sbir.evaluation.embedding_map import EmbeddingMap, embedding_map
from ssl_sbir.evaluation.evaluate import Evaluated
from ssl_sbir.evaluation.sheets import COLUMNS, SHEET, SIDE, Sheets, sheets
from ssl_sbir.evaluation.text_charts import text_charts
from ssl_sbir.reports.charts import Point, Strip, heat, scale, scatter, strip, top_of_scale
from ssl_sbir.reports.render import render

PAGE_BYTES = 16_000_000  # thumbnails beyond this go into files beside the page
BROWSED = 5000  # sketches of the browser; more are thinned out
HEAT_CLASSES = 60  # classes up to which the whole confusion table is drawn
Rows = npt.NDArray[np.int64]


def write_page(evaluated: Evaluated, place: Path, templates: Path | None = None) -> None:
    """Writes `index.html` and, where thumbnails take more than 16 MB, `thumbs/` into a folder."""
    browsed, flat = browsed_queries(evaluated), embedding_map(evaluated.features)
    test = evaluated.test
    shown = np.unique(evaluated.ranking.ids[browsed].cpu().numpy())
    pictures = sheets(
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
    facts = page_facts(evaluated, browsed, flat, pictures)
    whole = sum(map(len, pictures.images)) * 4 // 3 <= PAGE_BYTES
    facts["sheets"] = [
        _address(image, number, None if whole else place) for number, image in enumerate(pictures.images)
    ]
    (place / "index.html").write_text(render("evaluation.html.j2", facts, templates), encoding="utf-8")


def browsed_queries(evaluated: Evaluated) -> Rows:
    """Sketches for the browser, worst first: all of them, or half the worst and half evenly spread over the rest."""
    values = _headline(evaluated)
    order = np.argsort(np.nan_to_num(values, nan=-1.0), kind="stable")
    if len(order) <= BROWSED:
        return order
    rest = order[BROWSED // 2 :]
    return np.concatenate(
        [order[: BROWSED // 2], rest[np.linspace(0, len(rest) - 1, BROWSED // 2).astype(int)]]
    )


def page_facts(evaluated: Evaluated, browsed: Rows, flat: EmbeddingMap, pictures: Sheets) -> dict[str, Any]:
    """What the template draws, but for the sheets."""
    facts, mixed = evaluated.facts, confusion(evaluated.features, evaluated.ranking)
    most = top_of_scale(_drawn_values(facts))
    return {
        "facts": facts,
        "bars": _protocol_strips(facts, most),
        "scale": scale(most),
        "classes": _class_rows(facts, most),
        "confusion": mixed,
        "heat": heat(mixed.table.tolist(), [_spoken(n) for n in mixed.names]) if _drawn(mixed) else None,
        "maps": {name: scatter(_points(flat, name)) for name in flat.places},
        "labels": {name: _map_labels(evaluated, flat, name) for name in flat.places},
        "browser": _browser(evaluated, browsed, flat, pictures),
        "total": len(evaluated.test.queries),
        "text": text_charts(facts["audits"].get("text dominance")),
        "thumb": {"side": SIDE, "columns": COLUMNS, "sheet": SHEET},
    }


def _headline(evaluated: Evaluated) -> npt.NDArray[np.float64]:
    """The value that sketches are sorted by: `standard`'s average precision, or the first metric there is."""
    values = evaluated.result.values
    columns = values.get("standard") or next(iter(values.values()))
    return next(iter(columns.values())).cpu().numpy()


def _drawn_values(facts: dict[str, Any]) -> list[float]:
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
        bar = strip(Strip(one[metric], most, interval["low"], interval["high"], frozen, chance))
        rows.append({"name": name, "metric": metric, "value": one[metric], "frozen": frozen, "bar": bar})
    return rows


def _class_rows(facts: dict[str, Any], most: float) -> list[dict[str, Any]]:
    rows = []
    for one in facts["classes"]:
        metrics = one["metrics"]
        first = next((m for m in ("standard mAP@all", *metrics) if m in metrics), None)
        value = metrics[first] if first else None
        chance = one["photos"] / facts["counts"]["gallery"]
        bar = strip(Strip(value, most, chance=chance)) if value is not None else ""
        rows.append({**one, "value": value, "bar": bar})
    return sorted(rows, key=lambda row: -1.0 if row["value"] is None else row["value"])


def _drawn(mixed: Confusion) -> bool:
    return len(mixed.names) <= HEAT_CLASSES


def _points(flat: EmbeddingMap, name: str) -> list[Point]:
    return [
        Point(float(x), float(y), "sketch" if number < len(flat.queries) else "photo", number)
        for number, (x, y) in enumerate(flat.places[name])
    ]


def _map_labels(evaluated: Evaluated, flat: EmbeddingMap, name: str) -> list[dict[str, Any]]:
    """The middle of each class's photos, to write its name there."""
    labels = evaluated.features.gallery_labels.cpu().numpy()[flat.gallery]
    places = flat.places[name][len(flat.queries) :]
    return [
        {"name": _spoken(evaluated.features.classes[label]), "x": float(x), "y": float(y)}
        for label in np.unique(labels)
        for x, y in [np.median(places[labels == label], axis=0)]
    ]


def _browser(evaluated: Evaluated, browsed: Rows, flat: EmbeddingMap, pictures: Sheets) -> dict[str, Any]:
    """Sketches and their results by number, for the page's script; pictures by their place on the sheets."""
    test, features, ranking = evaluated.test, evaluated.features, evaluated.ranking
    classes = features.query_labels.cpu().numpy()
    ids = ranking.ids[browsed].cpu().numpy()
    found = pictures.places(test.gallery[ids])
    points = np.concatenate([test.queries[flat.queries], test.gallery[flat.gallery]])
    photos = np.unique(found)
    return {
        "names": [_spoken(name) for name in features.classes],
        "sketches": pictures.places(test.queries[browsed]).tolist(),
        "labels": classes[browsed].tolist(),
        "values": [None if np.isnan(v) else round(float(v), 4) for v in _headline(evaluated)[browsed]],
        "keys": [printable(test.manifest.keys[int(row)]) for row in test.queries[browsed]],
        "results": found.tolist(),
        "scores": [[round(score, 3) for score in row] for row in ranking.scores[browsed].tolist()],
        "photos": {
            int(place): [int(label), printable(test.manifest.keys[int(pictures.rows[place])])]
            for place, label in zip(photos, _labels_of(evaluated, pictures.rows[photos]), strict=True)
        },
        "points": {
            "pictures": pictures.places(points).tolist(),
            "labels": _labels_of(evaluated, points).tolist(),
            "sketches": len(flat.queries),
            "keys": [printable(test.manifest.keys[int(row)]) for row in points],
        },
    }


def _labels_of(evaluated: Evaluated, rows: Rows) -> npt.NDArray[np.int64]:
    """The labels of rows, as indices into the names of the features."""
    manifest = evaluated.test.manifest
    place = {name: number for number, name in enumerate(evaluated.features.classes)}
    table = np.array([place.get(name, -1) for name in manifest.classes])
    return table[manifest.label[rows]]


def _address(image: bytes, number: int, folder: Path | None) -> str:
    if folder is None:
        return f"data:image/webp;base64,{base64.b64encode(image).decode()}"
    file = folder / "thumbs" / f"{number:03}.webp"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(image)
    return f"thumbs/{file.name}"


def _spoken(name: str) -> str:
    return name.replace("_", " ")
