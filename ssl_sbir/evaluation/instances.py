"""Instance-level retrieval: is the very photo that a sketch was drawn from among the first k?"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.check import Features
from ssl_sbir.evaluation.engine import per_query
from ssl_sbir.evaluation.measures import Accuracy, Measure
from ssl_sbir.evaluation.protocols import Protocol
from ssl_sbir.evaluation.result import Metrics

FIRST = (1, 5, 10)


@dataclass(frozen=True)
class _Instances(Protocol):
    def measures(self) -> dict[str, Measure]:
        return {f"acc@{k}": Accuracy(k) for k in FIRST}


def instance_accuracy(features: Features, query_instances: Any, gallery_instances: Any) -> dict[str, Metrics]:
    """acc@1, acc@5 and acc@10 over the queries whose own photo is in the gallery; empty where there is none.

    `whole gallery` ranks all photos; `own class` only those of the sketch's class, as fine-grained papers do. Ties are
    broken by gallery order.

    Args:
        features: the checked features.
        query_instances: [q] integers; negative where unknown.
        gallery_instances: [n] likewise.

    Raises:
        EvaluationError: a list of another length.
    """
    query = _instances(query_instances, features.query, "query", -1)
    gallery = _instances(gallery_instances, features.gallery, "gallery", -2)
    known = torch.isin(query, gallery)
    if not known.any():
        return {}
    whole = per_query(features.query, query, features.gallery, gallery, [_Instances("own", "")])["own"]
    inside = {name: torch.full_like(column, torch.nan) for name, column in whole.items()}
    for label in features.query_labels[known].unique():
        rows = ((features.query_labels == label) & known).nonzero().squeeze(1)
        items = (features.gallery_labels == label).nonzero().squeeze(1)
        if len(items) == 0:
            continue
        sides = features.query[rows], query[rows], features.gallery[items], gallery[items]
        for name, column in per_query(*sides, [_Instances("own", "")])["own"].items():
            inside[name][rows] = column
    return {"whole gallery": _means(whole, known), "own class": _means(inside, known)}


def _means(columns: dict[str, Tensor], known: Tensor) -> Metrics:
    means = {name: float(column[column.isfinite()].mean()) for name, column in columns.items()}
    return {**means, "queries": float(known.sum())}


def _instances(values: Any, rows: Tensor, side: str, unknown: int) -> Int[Tensor, " m"]:
    found = torch.as_tensor(values, dtype=torch.int64, device=rows.device)
    if found.shape != rows.shape[:1]:
        raise EvaluationError(
            f"{side}_instances has shape {list(found.shape)}, {side} has {len(rows)} rows", "Give one a row."
        )
    return found.masked_fill(found < 0, unknown)
