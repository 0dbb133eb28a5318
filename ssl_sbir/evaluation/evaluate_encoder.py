"""Evaluation of an encoder on the unseen classes of a split."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from ssl_sbir.data.batches import Pack, prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder
from ssl_sbir.encoders.embed import embed_rows, encoder_sha256
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.audits.image_audits import image_audits
from ssl_sbir.evaluation.from_embeddings import check_missing_classes, evaluate_features
from ssl_sbir.evaluation.generalised import generalized_test_set
from ssl_sbir.evaluation.metrics.aggregate import MetricSettings, compute_protocol_values, micro_means
from ssl_sbir.evaluation.metrics.bootstrap import BOOTSTRAP_DRAWS
from ssl_sbir.evaluation.metrics.measures import TieHandling
from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol, resolve_protocols
from ssl_sbir.evaluation.metrics.result import MetricValues
from ssl_sbir.evaluation.metrics.split_evaluation import SplitEvaluation, TestSet
from ssl_sbir.evaluation.split_features import CenteringMode, EncoderEmbedder, SplitFeatures
from ssl_sbir.files import sha256_of
from ssl_sbir.ranking.ranking import rank_gallery

RANKING_DEPTH = 20  # results stored for each sketch
STRIDES_BY_DATASET = {"tuberlin": (3, 20), "quickdraw": (120, 30)}  # of `zse-strided`: queries, photos
DEFAULT_STRIDES = (20, 10)


def evaluate_encoder(
    encoder: Encoder,
    manifest: Manifest,
    split: Split,
    *,
    pack: Pack | None = None,
    protocols: Iterable[str | EvaluationProtocol] | None = None,
    ties: TieHandling | None = None,
    centre: CenteringMode = "none",
    gzs: Iterable[str] = (),
    bits: Iterable[int] = (),
    frozen: Encoder | None = None,
    trained_classes: Iterable[str] = (),
    labelled_classes: Iterable[str] | None = None,
    trained_images: ManifestRows | None = None,
    missing: Literal["exclude", "error"] = "exclude",
    name: str = "this encoder",
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
    device: str = "cpu",
    batch_size: int = 64,
    cache: bool = True,
    embedder: EncoderEmbedder | None = None,
) -> SplitEvaluation:
    """The figures of an encoder on the unseen classes: all sketches are queries, all photos the gallery.

    Args:
        encoder: the encoder to evaluate.
        manifest: the images; those of seen classes are needed only for `centre`, `bits` and `gzs`.
        split: seen and unseen classes; restricted to the classes in the data.
        pack: the pixels at the encoder's size; prepared where None.
        protocols: preset names or protocols of your own; all presets by default.
        ties: a tie rule that replaces each protocol's own.
        centre: `train` subtracts from each feature the mean of its domain over images of seen classes.
        gzs: generalised protocols: `all-seen`, `sempcyc`, `ocean`, `drclip`.
        bits: lengths of binary codes, fitted on images of seen classes.
        frozen: the untrained encoder that the run, or the first run before it, started from; for its row.
        trained_classes: names of classes whose images training used, for the integrity audit.
        labelled_classes: those of them whose labels training read; all by default.
        trained_images: hashes of the images that training used (`ssl_sbir.data.pixel_hashes`), if known.
        missing: see `evaluate_embeddings`.
        name: of the result.
        seed: of sampled galleries, binary codes and the bootstrap.
        draws: resamples of the bootstrap.
        device: where to embed.
        batch_size: images per batch.
        cache: whether to read and fill the cache of embeddings.
        embedder: computes features of rows instead of the encoder; it is audited for label leaks.

    Raises:
        EvaluationError, DataError: something is missing or can't be ranked.
    """

    def embed_with_cache(encoder: Encoder, pack: Pack, manifest: Manifest, rows: ManifestRows) -> Tensor:
        return embed_rows(encoder, pack, manifest, rows, batch_size=batch_size, device=device, cache=cache)

    def embed_without_cache(manifest: Manifest, rows: ManifestRows) -> Tensor:
        if embedder is not None:
            return embedder(encoder, pixels, manifest, rows)
        return embed_rows(encoder, pixels, manifest, rows, batch_size=batch_size, device=device, cache=False)

    settings = MetricSettings(resolve_protocols(protocols, ties), strides_of_split(split), seed, draws)
    split = split.restrict_to(manifest.classes)
    pixels = pack or prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)
    subject = SplitFeatures(encoder, pixels, manifest, split, centre, embedder or embed_with_cache)
    queries = subject.readable_rows(Domain.SKETCH, split.unseen)
    gallery = subject.readable_rows(Domain.PHOTO, split.unseen)
    _check_readable_images(queries, gallery, split)
    features = subject.retrieval_features(queries, gallery)
    check_missing_classes(features, missing)
    bits = tuple(bits)
    audits = image_audits(
        features,
        manifest,
        pixels,
        split,
        queries,
        gallery,
        embed_without_cache,
        tuple(trained_classes),
        None if labelled_classes is None else tuple(labelled_classes),
        trained_images,
    )
    figures = evaluate_features(
        features,
        settings,
        audits,
        name=name,
        bits=bits,
        training=subject.training_features() if bits else None,
        instances=(manifest.instance[queries], manifest.instance[gallery]),
    )
    result = replace(
        figures,
        generalised=_evaluate_generalized(subject, tuple(gzs), settings),
        frozen=_evaluate_frozen_encoder(frozen, subject, settings, embed_with_cache, queries, gallery),
        facts=_describe_split_evaluation(subject, queries, gallery, seed),
    )
    ranking = rank_gallery(
        features.query,
        features.gallery,
        RANKING_DEPTH,
        query_labels=features.query_labels,
        gallery_labels=features.gallery_labels,
    )
    return SplitEvaluation(result, TestSet(manifest, pixels, split, queries, gallery), features, ranking)


def strides_of_split(split: Split) -> tuple[int, int]:
    """Every how many-th query and photo `zse-strided` takes: by the data set that starts the split's name."""
    return STRIDES_BY_DATASET.get(split.name.split("-")[0], DEFAULT_STRIDES)


def _evaluate_frozen_encoder(
    encoder: Encoder | None,
    subject: SplitFeatures,
    settings: MetricSettings,
    embed: EncoderEmbedder,
    queries: ManifestRows,
    gallery: ManifestRows,
) -> dict[str, MetricValues] | None:
    if encoder is None:
        return None
    preprocess, pack = encoder.preprocess, subject.pack
    if (preprocess.size, preprocess.fit) != (pack.size, pack.fit):
        pack = prepare_pack(subject.manifest, preprocess.size, fit=preprocess.fit)
    other = SplitFeatures(encoder, pack, subject.manifest, subject.split, subject.centre, embed)
    return micro_means(compute_protocol_values(other.retrieval_features(queries, gallery), settings))


def _evaluate_generalized(
    subject: SplitFeatures, names: Sequence[str], settings: MetricSettings
) -> dict[str, dict[str, Any]]:
    """Micro means by generalised protocol, with its sizes; strided and sampled galleries don't apply."""
    whole = [protocol for protocol in settings.protocols if protocol.gallery == "all"]
    results = {}
    for name in names:
        rows = generalized_test_set(name, subject.manifest, subject.split, settings.seed)
        queries, gallery = (side[subject.pack.ok[side]] for side in (rows.queries, rows.gallery))
        values = compute_protocol_values(
            subject.retrieval_features(queries, gallery), MetricSettings(whole, seed=settings.seed)
        )
        sizes = {
            "queries": len(queries),
            "gallery": len(gallery),
            "added": rows.added,
            "classes": list(rows.classes),
        }
        results[name] = {**sizes, "protocols": micro_means(values)}
    return results


def _describe_split_evaluation(
    subject: SplitFeatures, queries: ManifestRows, gallery: ManifestRows, seed: int
) -> dict[str, Any]:
    manifest, split = subject.manifest, subject.split
    keys = [sha256_of(*(manifest.keys[int(row)] for row in rows)) for rows in (queries, gallery)]
    return {
        "split": {
            "name": split.name,
            "sha256": split.sha256,
            "seen": len(split.seen),
            "unseen": list(split.unseen),
        },
        "data": {"name": manifest.name, "queries_sha256": keys[0], "gallery_sha256": keys[1]},
        "manifest_sha256": manifest.sha256,
        "encoder": {"width": subject.encoder.width, "weights_sha256": encoder_sha256(subject.encoder)},
        "unreadable": int((~subject.pack.ok).sum()),
        "size": subject.pack.size,
        "centre": subject.centre,
        "seed": seed,
    }


def _check_readable_images(queries: ManifestRows, gallery: ManifestRows, split: Split) -> None:
    for rows, what in ((queries, "sketches"), (gallery, "photos")):
        if not len(rows):
            raise EvaluationError(
                f"the data holds no readable {what} of the unseen classes of {split.name}",
                "List the data sets: ssl-sbir data list",
            )
