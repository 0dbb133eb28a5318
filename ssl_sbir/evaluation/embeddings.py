"""From two sets of embeddings to every published number, each with its interval."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.engine import Values, per_query
from ssl_sbir.evaluation.protocols import Protocol, protocols
from ssl_sbir.evaluation.statistics import class_means, interval


@dataclass(frozen=True)
class Number:
    """One metric under one protocol.

    Attributes:
        micro: mean over queries, 0..1.
        macro: mean over classes of their means, 0..1.
        over_queries: 95 % bootstrap interval of `micro`, resampling queries.
        over_classes: 95 % bootstrap interval of `macro`, resampling classes.
    """

    micro: float
    macro: float
    over_queries: tuple[float, float]
    over_classes: tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """What one set of embeddings achieves.

    Attributes:
        numbers: protocol → metric → number.
        per_query: protocol → metric → value of each query, NaN where it takes no part.
        per_class: mean of `standard`'s mAP@all (or of the first metric there is) of each class, NaN without.
        queries: how many queries there are.
        gallery: how many gallery items there are.
        without_relevant: queries whose class the gallery lacks; they take no part in any mean.
        chance: expected precision of a random order, averaged over queries.
    """

    numbers: dict[str, dict[str, Number]]
    per_query: dict[str, Values]
    per_class: Float[Tensor, " classes"]
    queries: int
    gallery: int
    without_relevant: int
    chance: float


def evaluate_embeddings(
    query: Float[Tensor, "q d"],
    query_labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    gallery_labels: Int[Tensor, " n"],
    *,
    protocol: Iterable[str | Protocol] | None = None,
    strides: tuple[int, int] = (20, 10),
    seed: int = 0,
) -> Measured:
    """Every number of the given protocols (None: of all), micro and macro, with bootstrap intervals.

    Args:
        query: features of the queries.
        query_labels: class of each query, 0, 1, 2, …
        gallery: features of the gallery items.
        gallery_labels: class of each gallery item.
        protocol: preset names or protocols of one's own.
        strides: of queries and items where a protocol strides the test set.
        seed: of the bootstrap and of protocols that draw at random.

    Raises:
        EvaluationError: features or labels can't be evaluated as they are.
    """
    _check("query", query, query_labels)
    _check("gallery", gallery, gallery_labels)
    if query.shape[1] != gallery.shape[1]:
        raise EvaluationError(
            f"queries have {query.shape[1]} dimensions and gallery items {gallery.shape[1]}",
            "Embed both with the same encoder.",
        )
    chosen = protocols(protocol)
    values = per_query(query, query_labels, gallery, gallery_labels, chosen, strides=strides, seed=seed)
    classes = int(torch.cat([query_labels, gallery_labels]).max()) + 1
    labels = query_labels.cpu()
    relevant = gallery_labels.cpu().bincount(minlength=classes)[labels]
    return Measured(
        numbers=_numbers(values, labels, classes, seed),
        per_query=values,
        per_class=class_means(_headline(values).cpu(), labels, classes),
        queries=len(query),
        gallery=len(gallery),
        without_relevant=int((relevant == 0).sum()),
        chance=float(relevant[relevant > 0].double().mean() / len(gallery)),
    )


def _numbers(
    values: dict[str, Values], labels: Int[Tensor, " q"], classes: int, seed: int
) -> dict[str, dict[str, Number]]:
    return {
        name: {metric: _number(value.cpu(), labels, classes, seed) for metric, value in metrics.items()}
        for name, metrics in values.items()
    }


def _number(value: Float[Tensor, " q"], labels: Int[Tensor, " q"], classes: int, seed: int) -> Number:
    means = class_means(value, labels, classes)
    return Number(
        micro=float(value.nanmean()),
        macro=float(means.nanmean()),
        over_queries=interval(value, seed=seed),
        over_classes=interval(means, seed=seed),
    )


def _headline(values: dict[str, Values]) -> Float[Tensor, " q"]:
    metrics: Sequence[Values] = [values["standard"]] if "standard" in values else list(values.values())
    return next(iter(metrics[0].values()))


def _check(side: str, features: Tensor, labels: Tensor) -> None:
    if not len(features):
        raise EvaluationError(f"there is no {side} item", "Name data that holds sketches and photos.")
    if len(features) != len(labels):
        raise EvaluationError(
            f"{side} has {len(features)} feature rows and {len(labels)} labels", "Give one label for each row."
        )
    broken = (~features.isfinite()).any(1).nonzero()[:, 0]
    if len(broken):
        raise EvaluationError(
            f"{side} row {int(broken[0])} holds NaN or infinity ({len(broken)} such rows)",
            "The model that made them is broken: look at its training loss.",
        )
    zero = (features == 0).all(1).nonzero()[:, 0]
    if len(zero):
        raise EvaluationError(
            f"{side} row {int(zero[0])} is a zero vector ({len(zero)} such rows)",
            "A zero vector has no direction to rank by: look at the model that made it.",
        )
