"""An evaluation on disk: `results.json`, `ranking.safetensors` and a page to look through."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from ssl_sbir.evaluation.evaluate import Evaluation
from ssl_sbir.files import atomic_folder
from ssl_sbir.reports.images import Picture, picture
from ssl_sbir.reports.render import json_text, render

THUMB = 72
BROWSED = 60
PHOTOS = 10


def save_evaluation(evaluation: Evaluation, folder: Path, title: str) -> Path:
    """Writes an evaluation's folder at once; returns its page.

    Args:
        evaluation: what to write.
        folder: replaced as a whole.
        title: whose evaluation it is, as the page's heading.
    """
    with atomic_folder(folder) as place:
        (place / "results.json").write_text(json_text(evaluation.facts, indent=1), encoding="utf-8")
        save_file(_tensors(evaluation), place / "ranking.safetensors")
        (place / "index.html").write_text(evaluation_page(evaluation, title), encoding="utf-8")
    return folder / "index.html"


def evaluation_page(evaluation: Evaluation, title: str) -> str:
    """The page of an evaluation: headline table, classes, and the worst, middle and best queries."""
    facts = evaluation.facts
    return render(
        "evaluation.html.j2",
        {
            "title": title,
            "facts": facts,
            "metrics": _metric_names(facts["protocols"]),
            "classes": sorted(facts["per_class"].items(), key=lambda pair: _last_if_missing(pair[1])),
            "queries": _browsed(evaluation),
        },
    )


def _metric_names(protocols: dict[str, dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(metric for metrics in protocols.values() for metric in metrics))


def _last_if_missing(value: float) -> float:
    return -value if value == value else 1.0


def _tensors(evaluation: Evaluation) -> dict[str, torch.Tensor]:
    ranking, test = evaluation.ranking, evaluation.test
    return {
        "items": ranking.items.contiguous(),
        "scores": ranking.scores.contiguous(),
        "relevant": ranking.relevant.contiguous(),
        "query_rows": torch.from_numpy(test.queries),
        "gallery_rows": torch.from_numpy(test.gallery),
    }


def _browsed(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Facts of the worst, the middle and the best queries by the first metric, worst first."""
    test, ranking = evaluation.test, evaluation.ranking
    first = next(iter(next(iter(evaluation.measured.per_query.values())).values()))
    order = torch.argsort(torch.nan_to_num(first, nan=-1.0)).tolist()
    chosen = _spread(order)
    thumbs = _Thumbs(evaluation)
    return [
        {
            "key": test.manifest.keys[int(test.queries[q])],
            "label": _class_name(evaluation, test.queries[q]),
            "value": float(first[q]),
            "drawing": thumbs(int(test.queries[q])),
            "photos": [
                {
                    "picture": thumbs(int(test.gallery[item])),
                    "label": _class_name(evaluation, test.gallery[item]),
                    "right": bool(right),
                    "score": float(score),
                }
                for item, score, right in zip(
                    ranking.items[q, :PHOTOS].tolist(),
                    ranking.scores[q, :PHOTOS].tolist(),
                    ranking.relevant[q, :PHOTOS].tolist(),
                    strict=True,
                )
            ],
        }
        for q in chosen
    ]


def _spread(order: list[int]) -> list[int]:
    if len(order) <= BROWSED:
        return order
    third, middle = BROWSED // 3, len(order) // 2
    return order[:third] + order[middle - third // 2 : middle + third // 2] + order[-third:]


class _Thumbs:
    """Thumbnails by row, each encoded once."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._images: NDArray[np.uint8] = evaluation.test.pack.images
        self._made: dict[int, Picture] = {}

    def __call__(self, row: int) -> Picture:
        if row not in self._made:
            self._made[row] = picture(self._images[row], side=THUMB)
        return self._made[row]


def _class_name(evaluation: Evaluation, row: int) -> str:
    manifest = evaluation.test.manifest
    return manifest.classes[manifest.label[row]]
