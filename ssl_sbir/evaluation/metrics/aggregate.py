"""Means and intervals of protocols and classes, from the values of queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.evaluation.metrics.blockwise import compute_query_values
from ssl_sbir.evaluation.metrics.bootstrap import (
    BOOTSTRAP_DRAWS,
    Interval,
    percentile_intervals,
    resampled_means,
)
from ssl_sbir.evaluation.metrics.expected_ties import chance_average_precision
from ssl_sbir.evaluation.metrics.imagenet_overlap import imagenet_classes
from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol
from ssl_sbir.evaluation.metrics.result import ClassResult, MetricValues, ProtocolResult, ValuesByProtocol
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures
from ssl_sbir.group_means import class_means
from ssl_sbir.ranking.similarity import TiledScores

DENOMINATOR_PROTOCOLS = [
    EvaluationProtocol(f"÷ {over}", "", envelope=None, average_over=over, precision_over=None)
    for over in ("hits", "min(k,R)", "R", "k")
]


@dataclass(frozen=True)
class MetricSettings:
    """How to compute the figures.

    Attributes:
        protocols: the definitions.
        strides: of queries and photos under the gallery rule `strided`.
        seed: of the sampled gallery and of the bootstrap.
        draws: resamples of the bootstrap.
        block: queries ranked at once.
    """

    protocols: Sequence[EvaluationProtocol]
    strides: tuple[int, int] = (20, 10)
    seed: int = 0
    draws: int = BOOTSTRAP_DRAWS
    block: int | None = None


def compute_protocol_values(
    features: RetrievalFeatures, settings: MetricSettings, scores: TiledScores | None = None
) -> ValuesByProtocol:
    """For each protocol and metric the value of each query."""
    return compute_query_values(
        features.query,
        features.query_labels,
        features.gallery,
        features.gallery_labels,
        settings.protocols,
        strides=settings.strides,
        seed=settings.seed,
        block=settings.block,
        scores=scores,
    )


def micro_means(values: ValuesByProtocol) -> dict[str, MetricValues]:
    """Micro means by protocol and metric; a metric without a value for any query is absent."""
    means = {}
    for name, columns in values.items():
        finite = {metric: column[column.isfinite()] for metric, column in columns.items()}
        means[name] = {metric: float(column.mean()) for metric, column in finite.items() if len(column)}
    return {name: metrics for name, metrics in means.items() if metrics}


def protocol_results(
    features: RetrievalFeatures, values: ValuesByProtocol, settings: MetricSettings
) -> tuple[dict[str, ProtocolResult], dict[str, str]]:
    """The results of each protocol, and for each protocol that doesn't apply the reason."""
    tables, skipped = {}, {}
    for protocol in settings.protocols:
        metrics = {m: c.cpu() for m, c in values[protocol.name].items() if c.isfinite().any()}
        items = protocol.query_and_gallery_sizes(
            features.query_labels, features.gallery_labels, settings.strides
        )[1]
        if items < 2:
            skipped[protocol.name] = f"its gallery has {items} item"
        elif not metrics:
            skipped[protocol.name] = "no query has a relevant item in its gallery"
        else:
            tables[protocol.name] = _MetricTable.from_metrics(metrics, features.query_labels.cpu())
    over_queries = _table_intervals([table.values for table in tables.values()], settings)
    over_classes = _table_intervals([table.by_class for table in tables.values()], settings)
    known = {protocol.name: protocol for protocol in settings.protocols}
    results = {
        name: table.to_protocol_result(known[name], features, settings, queries, classes)
        for (name, table), queries, classes in zip(tables.items(), over_queries, over_classes, strict=True)
    }
    return results, skipped


@dataclass(frozen=True)
class _MetricTable:
    """The metrics of a protocol, with their values for each query that it uses and for each class."""

    metrics: list[str]
    values: Float[Tensor, "q m"]
    by_class: Float[Tensor, "c m"]

    @classmethod
    def from_metrics(cls, metrics: dict[str, Tensor], labels: Int[Tensor, " q"]) -> "_MetricTable":
        table = torch.stack(list(metrics.values()), 1)
        rows = table.isfinite().all(1).nonzero().squeeze(1)
        return cls(list(metrics), table[rows], class_means(table[rows], labels[rows])[1])

    def to_protocol_result(
        self,
        protocol: EvaluationProtocol,
        features: RetrievalFeatures,
        settings: MetricSettings,
        over_queries: list[Interval],
        over_classes: list[Interval],
    ) -> ProtocolResult:
        queries, items = protocol.query_and_gallery_sizes(
            features.query_labels, features.gallery_labels, settings.strides
        )
        return ProtocolResult(
            micro=dict(zip(self.metrics, self.values.mean(0).tolist(), strict=True)),
            macro=dict(zip(self.metrics, self.by_class.mean(0).tolist(), strict=True)),
            interval_queries=dict(zip(self.metrics, over_queries, strict=True)),
            interval_classes=dict(zip(self.metrics, over_classes, strict=True)),
            queries=len(self.values),
            gallery=items,
            without_relevant=queries - len(self.values),
            definition=protocol.format_definition(),
            source=protocol.source,
        )


def _table_intervals(
    tables: Sequence[Float[Tensor, "_ _"]], settings: MetricSettings
) -> list[list[Interval]]:
    """The intervals of each table's columns; tables of one length share their bootstrap resamples."""
    by_table: dict[int, list[Interval]] = {}
    for length in {len(table) for table in tables}:
        indices = [index for index, table in enumerate(tables) if len(table) == length]
        joined = torch.cat([tables[index] for index in indices], 1)
        intervals = iter(percentile_intervals(resampled_means(joined, settings.draws, settings.seed)))
        for index in indices:
            by_table[index] = [next(intervals) for _ in range(tables[index].shape[1])]
    return [by_table[index] for index in range(len(tables))]


def chance_metrics(features: RetrievalFeatures) -> MetricValues:
    """The expected figures of a random ranking: precision at any k, and mean average precision."""
    counts = torch.bincount(features.gallery_labels, minlength=len(features.classes))[features.query_labels]
    counts = counts[counts > 0]
    items = len(features.gallery_labels)
    if not len(counts):
        return {}
    return {
        "precision": float((counts.double() / items).mean()),
        "mAP@all": float(chance_average_precision(counts, items).mean()),
    }


def class_results(features: RetrievalFeatures, values: ValuesByProtocol) -> list[ClassResult]:
    """One entry for each class with queries: the means of its queries under `<protocol> <metric>`."""
    names = features.classes
    columns = {(p, m): c for p, metrics in values.items() for m, c in metrics.items()}
    queries = torch.bincount(features.query_labels, minlength=len(names))
    photos = torch.bincount(features.gallery_labels, minlength=len(names))
    imagenet = imagenet_classes(names)
    results = []
    for label in queries.nonzero().squeeze(1).tolist():
        rows = features.query_labels == label
        means = {f"{p} {m}": _finite_mean(c[rows]) for (p, m), c in columns.items()}
        metrics = {metric: value for metric, value in means.items() if value is not None}
        name = names[label]
        results.append(ClassResult(name, int(queries[label]), int(photos[label]), metrics, imagenet[name]))
    return results


def imagenet_split_means(
    features: RetrievalFeatures, values: ValuesByProtocol, covered: set[str]
) -> dict[str, dict[str, MetricValues]]:
    """Micro means over the queries of covered classes (`in_imagenet`) and of the others (`without_imagenet`)."""
    labels = [label for label, name in enumerate(features.classes) if name in covered]
    inside = torch.isin(features.query_labels, torch.tensor(labels, device=features.query_labels.device))
    return {
        side: micro_means({p: {m: c[mask] for m, c in metrics.items()} for p, metrics in values.items()})
        for side, mask in (("in_imagenet", inside), ("without_imagenet", ~inside))
    }


def _finite_mean(column: Float[Tensor, " q"]) -> float | None:
    finite = column[column.isfinite()]
    return float(finite.mean()) if len(finite) else None


def queries_without_relevant(features: RetrievalFeatures) -> Int[Tensor, " m"]:
    """Indices of the queries whose class has no gallery item."""
    return (~torch.isin(features.query_labels, features.gallery_labels)).nonzero().squeeze(1)
