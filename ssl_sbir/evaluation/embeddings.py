"""Evaluation of features that were made anywhere, without a model."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.audits import Audit, copies, diversity, label_in_features, verdict
from ssl_sbir.evaluation.check import Features, checked, matrix
from ssl_sbir.evaluation.instances import instance_accuracy
from ssl_sbir.evaluation.measured import (
    DENOMINATORS,
    Settings,
    chance,
    class_results,
    lacking_queries,
    means,
    results,
    split_means,
    values_of,
)
from ssl_sbir.evaluation.measures import Ties
from ssl_sbir.evaluation.protocols import Protocol
from ssl_sbir.evaluation.protocols import protocols as named
from ssl_sbir.evaluation.result import Evaluation, Metrics
from ssl_sbir.evaluation.uncertainty import DRAWS
from ssl_sbir.retrieval.codes import hamming, quantiser

Missing = Literal["exclude", "error"]
SHOWN = 5  # names in a message before it says "and more"


def evaluate_embeddings(
    query: Any,
    query_labels: Any,
    gallery: Any,
    gallery_labels: Any,
    *,
    protocols: Iterable[str | Protocol] | None = None,
    classes: Sequence[str] | None = None,
    ties: Ties | None = None,
    missing: Missing = "exclude",
    bits: Iterable[int] = (),
    training: Any = None,
    query_instances: Any = None,
    gallery_instances: Any = None,
    strides: tuple[int, int] = (20, 10),
    seed: int = 0,
    draws: int = DRAWS,
    block: int | None = None,
    audit: bool = True,
    name: str = "embeddings",
) -> Evaluation:
    """Every published retrieval number of some features, with intervals, chance and audits.

    Features in float64 are compared in float64, all others in float32; on whatever device they are.

    Args:
        query: [q, d] sketch features: arrays, tensors or lists.
        query_labels: [q] integers, or names.
        gallery: [n, d] photo features.
        gallery_labels: [n] likewise.
        protocols: preset names or own `Protocol`s; all presets by default.
        classes: the names of integer labels.
        ties: a tie rule in the place of each protocol's own: `stable`, `grouped` or `expected`.
        missing: what to do about queries with nothing relevant in the gallery: leave them out and say so
            (`exclude`), or refuse (`error`). They never count as 0 or 1.
        bits: lengths of binary codes to measure as well (16 to 512), fitted on `training` only.
        training: [m, d] features of training images, for the codes.
        query_instances: [q] the photo each sketch was drawn from, for acc@k; negative where unknown.
        gallery_instances: [n] likewise.
        strides: every how many-th query and photo `zse-strided` takes.
        seed: of the photos that `clip-at` draws, and of the bootstrap.
        draws: of the bootstrap.
        block: how many queries are ranked at once; changes memory and time, never a figure.
        audit: whether to look for copies, labels in the features and diversity.
        name: what the result is called.

    Raises:
        EvaluationError: the features or labels can't be evaluated; says which row and why.
    """
    features = checked(query, query_labels, gallery, gallery_labels, classes)
    if (query_instances is None) != (gallery_instances is None):
        raise EvaluationError(
            "instances are given of one side alone", "Give query_instances and gallery_instances, or neither."
        )
    if min(strides) < 1:
        raise EvaluationError(f"strides are {strides}", "Give two numbers of 1 or more, such as (20, 10).")
    refuse_lacking(features, missing)
    settings = Settings(named(protocols, ties), strides, seed, draws, block)
    audits = vector_audits(features) if audit else {}
    instances = (query_instances, gallery_instances) if query_instances is not None else None
    return evaluation(
        features, settings, audits, name=name, bits=tuple(bits), training=training, instances=instances
    )


def evaluation(
    features: Features,
    settings: Settings,
    audits: dict[str, Audit],
    *,
    name: str,
    bits: Sequence[int] = (),
    training: Any = None,
    instances: tuple[Any, Any] | None = None,
) -> Evaluation:
    """The evaluation of checked features."""
    known = {protocol.name for protocol in settings.protocols}
    extra = [protocol for protocol in DENOMINATORS if protocol.name not in known]
    values = values_of(features, _with(settings, [*settings.protocols, *extra]))
    divided = {
        p.name[2:]: m["mAP@200"] for p in DENOMINATORS if (m := means({p.name: values[p.name]}).get(p.name))
    }
    values = {protocol.name: values[protocol.name] for protocol in settings.protocols}
    found, skipped = results(features, values, settings)
    by_class = class_results(features, values)
    covered = {one.name for one in by_class if one.imagenet}
    return Evaluation(
        verdict=verdict(audits),
        name=name,
        counts=_counts(features),
        chance=chance(features),
        protocols=found,
        skipped=skipped,
        denominators=divided,
        classes=by_class,
        imagenet={
            "classes": sorted(covered),
            "others": sorted(one.name for one in by_class if not one.imagenet),
            **split_means(features, values, covered),
        },
        audits=audits,
        instances=instance_accuracy(features, *instances) if instances else {},
        codes=_codes(features, settings, bits, training),
        values=values,
    )


def vector_audits(features: Features) -> dict[str, Audit]:
    """What can be told from vectors and labels alone."""
    return {
        "gallery copies": copies(features.gallery, "gallery vectors"),
        "query copies": copies(features.query, "query vectors"),
        "label in features": label_in_features(features.gallery, features.gallery_labels),
        "diversity": diversity(features.query, features.query_labels, features.gallery),
    }


def refuse_lacking(features: Features, missing: Missing) -> None:
    """Refuses classes that the gallery lacks, all of them always, some where `missing` is `error`.

    Raises:
        EvaluationError: names the classes.
    """
    names, queries = features.lacking, len(lacking_queries(features))
    if not names or (missing == "exclude" and queries < len(features.query)):
        return
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    raise EvaluationError(
        f"the gallery has nothing of {len(names)} class(es) that queries ask for: {shown}",
        f"{queries:,} of {len(features.query):,} queries have no relevant item. "
        "Add such photos, or leave those queries out: --exclude-missing",
    )


def _with(settings: Settings, some: Sequence[Protocol]) -> Settings:
    return Settings(some, settings.strides, settings.seed, settings.draws, settings.block)


def _counts(features: Features) -> dict[str, Any]:
    return {
        "queries": len(features.query),
        "gallery": len(features.gallery),
        "classes": len(features.query_labels.unique()),
        "without_relevant": len(lacking_queries(features)),
        "classes_without_photos": list(features.lacking),
        "width": features.query.shape[1],
    }


def _codes(
    features: Features, settings: Settings, bits: Sequence[int], training: Any
) -> dict[str, dict[str, Metrics]]:
    """Micro means of the Hamming ranking; ties expected, stable where an envelope has no expectation."""
    if not bits:
        return {}
    if training is None:
        raise EvaluationError(
            "binary codes need training features: fitting them on the test set would be transductive",
            "Give features of images of seen classes (training=…, or an array `training` in the file).",
        )
    fitted = matrix(training, "training", zeros=True).to(features.query.device)
    if fitted.shape[1] != features.query.shape[1]:
        raise EvaluationError(
            f"training features are {fitted.shape[1]} wide, the others {features.query.shape[1]}",
            "Take them from the same encoder.",
        )
    found = {}
    for length in bits:
        fit = quantiser(fitted, length, seed=settings.seed)
        scores = hamming(fit.codes(features.query), fit.codes(features.gallery))
        expected = [protocol.with_ties("expected") for protocol in settings.protocols]
        found[str(length)] = means(values_of(features, _with(settings, expected), scores))
    return found
