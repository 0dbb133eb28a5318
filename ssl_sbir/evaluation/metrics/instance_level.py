"""Instance-level retrieval: whether the photo that a sketch was drawn from is among the first k."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.metrics.blockwise import compute_query_values
from ssl_sbir.evaluation.metrics.measures import AccuracyAtK, RankingMeasure
from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol
from ssl_sbir.evaluation.metrics.result import MetricValues
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures

INSTANCE_CUTOFFS = (1, 5, 10)


@dataclass(frozen=True)
class _InstanceProtocol(EvaluationProtocol):
    def build_measures(self) -> dict[str, RankingMeasure]:
        return {f"acc@{k}": AccuracyAtK(k) for k in INSTANCE_CUTOFFS}


def instance_accuracy(
    features: RetrievalFeatures, query_instances: Any, gallery_instances: Any
) -> dict[str, MetricValues]:
    """acc@1, acc@5 and acc@10 over the queries whose own photo is in the gallery; empty if there is none.

    `whole gallery` ranks all photos; `own class` only those of the sketch's class, as fine-grained papers do. Ties are
    broken by gallery order.

    Args:
        features: the validated features.
        query_instances: [q] integers; negative where unknown.
        gallery_instances: [n] likewise.

    Raises:
        EvaluationError: a list has a wrong length.
    """
    query = _validate_instances(query_instances, features.query, "query", -1)
    gallery = _validate_instances(gallery_instances, features.gallery, "gallery", -2)
    known = torch.isin(query, gallery)
    if not known.any():
        return {}
    whole = compute_query_values(
        features.query, query, features.gallery, gallery, [_InstanceProtocol("own", "")]
    )["own"]
    inside = {name: torch.full_like(column, torch.nan) for name, column in whole.items()}
    for label in features.query_labels[known].unique():
        rows = ((features.query_labels == label) & known).nonzero().squeeze(1)
        items = (features.gallery_labels == label).nonzero().squeeze(1)
        if len(items) == 0:
            continue
        sides = features.query[rows], query[rows], features.gallery[items], gallery[items]
        for name, column in compute_query_values(*sides, [_InstanceProtocol("own", "")])["own"].items():
            inside[name][rows] = column
    return {"whole gallery": _instance_means(whole, known), "own class": _instance_means(inside, known)}


def _instance_means(columns: dict[str, Tensor], known: Tensor) -> MetricValues:
    means = {name: float(column[column.isfinite()].mean()) for name, column in columns.items()}
    return {**means, "queries": float(known.sum())}


def _validate_instances(values: Any, rows: Tensor, side: str, unknown: int) -> Int[Tensor, " m"]:
    instances = torch.as_tensor(values, dtype=torch.int64, device=rows.device)
    if instances.shape != rows.shape[:1]:
        raise EvaluationError(
            f"{side}_instances has shape {list(instances.shape)}, {side} has {len(rows)} rows",
            "Give one instance per row.",
        )
    return instances.masked_fill(instances < 0, unknown)
