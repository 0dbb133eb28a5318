"""Evaluation of features from any source, without a model."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.audits.retrieval_audits import (
    Audit,
    copy_audit,
    diversity_audit,
    integrity_verdict,
    label_in_features_audit,
)
from ssl_sbir.evaluation.metrics.aggregate import (
    DENOMINATOR_PROTOCOLS,
    MetricSettings,
    chance_metrics,
    class_results,
    compute_protocol_values,
    imagenet_split_means,
    micro_means,
    protocol_results,
    queries_without_relevant,
)
from ssl_sbir.evaluation.metrics.bootstrap import BOOTSTRAP_DRAWS
from ssl_sbir.evaluation.metrics.instance_level import instance_accuracy
from ssl_sbir.evaluation.metrics.measures import TieHandling
from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol, resolve_protocols
from ssl_sbir.evaluation.metrics.result import Evaluation, MetricValues
from ssl_sbir.evaluation.metrics.validate_features import (
    RetrievalFeatures,
    validate_features,
    validate_matrix,
)
from ssl_sbir.ranking.itq import fit_itq_quantizer, hamming_scores

MissingPolicy = Literal["exclude", "error"]
CLASSES_NAMED_IN_ERROR = 5


def evaluate_embeddings(
    query: Any,
    query_labels: Any,
    gallery: Any,
    gallery_labels: Any,
    *,
    protocols: Iterable[str | EvaluationProtocol] | None = None,
    classes: Sequence[str] | None = None,
    ties: TieHandling | None = None,
    missing: MissingPolicy = "exclude",
    bits: Iterable[int] = (),
    training: Any = None,
    query_instances: Any = None,
    gallery_instances: Any = None,
    strides: tuple[int, int] = (20, 10),
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
    block: int | None = None,
    audit: bool = True,
    name: str = "embeddings",
) -> Evaluation:
    """Every published retrieval figure of some features, with intervals, chance and audits.

    Features in float64 are compared in float64, all others in float32, on the device they are on.

    Args:
        query: [q, d] sketch features: arrays, tensors or lists.
        query_labels: [q] integers, or names.
        gallery: [n, d] photo features.
        gallery_labels: [n] likewise.
        protocols: preset names or your own `EvaluationProtocol`s; all presets by default.
        classes: the names of integer labels.
        ties: a tie rule that replaces each protocol's own: `stable`, `grouped` or `expected`.
        missing: what to do with queries that have no relevant item in the gallery: exclude and report them
            (`exclude`), or raise an error (`error`). They never count as 0 or 1.
        bits: lengths of binary codes to evaluate too (16 to 512), fitted on `training` only.
        training: [m, d] features of training images, for the codes.
        query_instances: [q] the photo each sketch was drawn from, for acc@k; negative where unknown.
        gallery_instances: [n] likewise.
        strides: (s, t): `zse-strided` takes every s-th query and every t-th photo.
        seed: of the photos that `clip-at` samples, and of the bootstrap.
        draws: resamples of the bootstrap.
        block: queries ranked at once; changes memory and time, never a figure.
        audit: whether to audit copies, labels in the features and diversity.
        name: of the result.

    Raises:
        EvaluationError: the features or labels can't be evaluated; names the row and the cause.
    """
    features = validate_features(query, query_labels, gallery, gallery_labels, classes)
    if (query_instances is None) != (gallery_instances is None):
        raise EvaluationError(
            "only one side has instances", "Give query_instances and gallery_instances, or neither."
        )
    if min(strides) < 1:
        raise EvaluationError(f"strides are {strides}", "Give two numbers of 1 or more, such as (20, 10).")
    check_missing_classes(features, missing)
    settings = MetricSettings(resolve_protocols(protocols, ties), strides, seed, draws, block)
    audits = vector_audits(features) if audit else {}
    instances = (query_instances, gallery_instances) if query_instances is not None else None
    return evaluate_features(
        features, settings, audits, name=name, bits=tuple(bits), training=training, instances=instances
    )


def evaluate_features(
    features: RetrievalFeatures,
    settings: MetricSettings,
    audits: dict[str, Audit],
    *,
    name: str,
    bits: Sequence[int] = (),
    training: Any = None,
    instances: tuple[Any, Any] | None = None,
) -> Evaluation:
    """The evaluation of validated features."""
    known = {protocol.name for protocol in settings.protocols}
    extra = [protocol for protocol in DENOMINATOR_PROTOCOLS if protocol.name not in known]
    values = compute_protocol_values(
        features, _settings_for_protocols(settings, [*settings.protocols, *extra])
    )
    denominators = {
        p.name[2:]: m["mAP@200"]
        for p in DENOMINATOR_PROTOCOLS
        if (m := micro_means({p.name: values[p.name]}).get(p.name))
    }
    values = {protocol.name: values[protocol.name] for protocol in settings.protocols}
    results, skipped = protocol_results(features, values, settings)
    by_class = class_results(features, values)
    covered = {one.name for one in by_class if one.imagenet}
    return Evaluation(
        verdict=integrity_verdict(audits),
        name=name,
        counts=_count_queries_and_gallery(features),
        chance=chance_metrics(features),
        protocols=results,
        skipped=skipped,
        denominators=denominators,
        classes=by_class,
        imagenet={
            "classes": sorted(covered),
            "others": sorted(one.name for one in by_class if not one.imagenet),
            **imagenet_split_means(features, values, covered),
        },
        audits=audits,
        instances=instance_accuracy(features, *instances) if instances else {},
        codes=_evaluate_binary_codes(features, settings, bits, training),
        values=values,
    )


def vector_audits(features: RetrievalFeatures) -> dict[str, Audit]:
    """The audits that need only vectors and labels."""
    return {
        "gallery copies": copy_audit(features.gallery, "gallery vectors"),
        "query copies": copy_audit(features.query, "query vectors"),
        "label in features": label_in_features_audit(features.gallery, features.gallery_labels),
        "diversity": diversity_audit(features.query, features.query_labels, features.gallery),
    }


def check_missing_classes(features: RetrievalFeatures, missing: MissingPolicy) -> None:
    """Checks that the gallery has photos of the queries' classes.

    Raises:
        EvaluationError: no query has a relevant photo, or `missing` is `error` and some have none; names the classes.
    """
    names, queries = features.classes_without_photos, len(queries_without_relevant(features))
    if not names or (missing == "exclude" and queries < len(features.query)):
        return
    shown = ", ".join(names[:CLASSES_NAMED_IN_ERROR]) + (
        f" and {len(names) - CLASSES_NAMED_IN_ERROR} more" if len(names) > CLASSES_NAMED_IN_ERROR else ""
    )
    raise EvaluationError(
        f"the gallery has no photo of {len(names)} class(es) of the queries: {shown}",
        f"{queries:,} of {len(features.query):,} queries have no relevant item. "
        "Add such photos, or exclude those queries: --exclude-missing",
    )


def _settings_for_protocols(settings: MetricSettings, some: Sequence[EvaluationProtocol]) -> MetricSettings:
    return MetricSettings(some, settings.strides, settings.seed, settings.draws, settings.block)


def _count_queries_and_gallery(features: RetrievalFeatures) -> dict[str, Any]:
    return {
        "queries": len(features.query),
        "gallery": len(features.gallery),
        "classes": len(features.query_labels.unique()),
        "without_relevant": len(queries_without_relevant(features)),
        "classes_without_photos": list(features.classes_without_photos),
        "width": features.query.shape[1],
    }


def _evaluate_binary_codes(
    features: RetrievalFeatures, settings: MetricSettings, bits: Sequence[int], training: Any
) -> dict[str, dict[str, MetricValues]]:
    """Micro means of the Hamming ranking with expected ties; stable ties under the VOC envelope."""
    if not bits:
        return {}
    if training is None:
        raise EvaluationError(
            "binary codes need training features: fitting them on the test set would be transductive",
            "Give features of images of seen classes (training=…, or an array `training` in the file).",
        )
    matrix = validate_matrix(training, "training", allow_zeros=True).to(features.query.device)
    if matrix.shape[1] != features.query.shape[1]:
        raise EvaluationError(
            f"training features have {matrix.shape[1]} columns, the others {features.query.shape[1]}",
            "Take them from the same encoder.",
        )
    expected = [protocol.with_ties("expected") for protocol in settings.protocols]
    expected_settings = _settings_for_protocols(settings, expected)
    means = {}
    for length in bits:
        quantizer = fit_itq_quantizer(matrix, length, seed=settings.seed)
        codes = (quantizer.binary_codes(side) for side in (features.query, features.gallery))
        values = compute_protocol_values(features, expected_settings, hamming_scores(*codes))
        means[str(length)] = micro_means(values)
    return means
