"""Evaluation of an encoder on the unseen classes of a split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from ssl_sbir.data.batches import Pack, prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest
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
from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol
from ssl_sbir.evaluation.metrics.protocols import resolve_protocols as named
from ssl_sbir.evaluation.metrics.result import Evaluation, MetricValues
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures
from ssl_sbir.evaluation.split_features import CenteringMode, EncoderEmbedder, SplitFeatures, SplitRows
from ssl_sbir.files import sha256_of
from ssl_sbir.ranking.ranking import Ranking, rank_gallery

RANKING_DEPTH = 20  # results of a sketch that are kept
STRIDES_BY_DATASET = {
    "tuberlin": (3, 20),
    "quickdraw": (120, 30),
}  # zse-strided's, by data set; 20 and 10 elsewhere


@dataclass(frozen=True)
class TestSet:
    """The readable images of a split's unseen classes.

    Attributes:
        manifest: all images of the data set.
        pack: their pixels at the encoder's size.
        split: cut down to the classes that are there.
        queries: rows of the sketches, in the order of the values.
        gallery: rows of the photos.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    manifest: Manifest
    pack: Pack
    split: Split
    queries: SplitRows
    gallery: SplitRows


@dataclass(frozen=True)
class SplitEvaluation:
    """An evaluation with what it is about.

    Attributes:
        result: the figures.
        test_set: the images.
        features: what was compared.
        ranking: the first results of every sketch by cosine; `ids` are places in `test.gallery`.
    """

    result: Evaluation
    test_set: TestSet
    features: RetrievalFeatures
    ranking: Ranking

    @property
    def facts(self) -> dict[str, Any]:
        """The figures, JSON-able, with `protocols.<preset>.<metric>`."""
        return self.result.to_json()


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
    trained_images: SplitRows | None = None,
    missing: Literal["exclude", "error"] = "exclude",
    name: str = "this encoder",
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
    device: str = "cpu",
    batch_size: int = 64,
    cache: bool = True,
    embedder: EncoderEmbedder | None = None,
) -> SplitEvaluation:
    """An encoder's figures on the unseen classes: every sketch asks, every photo answers.

    Args:
        encoder: what is evaluated.
        manifest: the images; those of seen classes are needed for `centre`, `bits` and `gzs` only.
        split: seen and unseen classes; restricted to the classes that are there.
        pack: the pixels at the encoder's size; prepared where None.
        protocols: preset names or own ones; all presets by default.
        ties: a tie rule in the place of each protocol's own.
        centre: `enter_training_mode` subtracts from each feature the mean of its domain over images of seen classes.
        gzs: generalised protocols: `all-seen`, `sempcyc`, `ocean`, `drclip`.
        bits: lengths of binary codes, fitted on images of seen classes.
        frozen: the untrained encoder at the start of the run, or of the runs it came from, for its row.
        trained_classes: names whose images training used, for the integrity audit.
        labelled_classes: those of them whose labels it read; all by default.
        trained_images: hashes of the images that training used (`ssl_sbir.data.pixel_hashes`), where they are known.
        missing: see `evaluate_embeddings`.
        name: of the result.
        seed: of everything that is drawn.
        draws: of the bootstrap.
        device: where to embed.
        batch_size: images at a time.
        cache: whether to read and fill the cache of embeddings.
        embedder: another way from rows to features than the encoder's; it is audited for label leaks.

    Raises:
        EvaluationError, DataError: something is missing or can't be ranked.
    """

    def embed_with_cache(encoder: Encoder, pack: Pack, manifest: Manifest, rows: SplitRows) -> Tensor:
        return embed_rows(encoder, pack, manifest, rows, batch_size=batch_size, device=device, cache=cache)

    def embed_without_cache(manifest: Manifest, rows: SplitRows) -> Tensor:
        if embedder is not None:
            return embedder(encoder, pixels, manifest, rows)
        return embed_rows(encoder, pixels, manifest, rows, batch_size=batch_size, device=device, cache=False)

    settings = MetricSettings(
        named(protocols, ties), STRIDES_BY_DATASET.get(split.name.split("-")[0], (20, 10)), seed, draws
    )
    split = split.restrict_to(manifest.classes)
    pixels = pack or prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)
    subject = SplitFeatures(encoder, pixels, manifest, split, centre, embedder or embed_with_cache)
    queries, gallery = (
        subject.readable_rows(Domain.SKETCH, split.unseen),
        subject.readable_rows(Domain.PHOTO, split.unseen),
    )
    _check_readable_images(queries, gallery, split)
    features = subject.retrieval_features(queries, gallery)
    check_missing_classes(features, missing)
    bits = tuple(bits)
    found = evaluate_features(
        features,
        settings,
        image_audits(
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
        ),
        name=name,
        bits=bits,
        training=subject.training_features() if bits else None,
        instances=(manifest.instance[queries], manifest.instance[gallery]),
    )
    result = replace(
        found,
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


def _evaluate_frozen_encoder(
    encoder: Encoder | None,
    subject: SplitFeatures,
    settings: MetricSettings,
    own: EncoderEmbedder,
    queries: SplitRows,
    gallery: SplitRows,
) -> dict[str, MetricValues] | None:
    if encoder is None:
        return None
    wanted, have = encoder.preprocess, subject.pack
    same = (wanted.size, wanted.fit) == (have.size, have.fit)
    pack = have if same else prepare_pack(subject.manifest, wanted.size, fit=wanted.fit)
    other = SplitFeatures(encoder, pack, subject.manifest, subject.split, subject.centre, own)
    return micro_means(compute_protocol_values(other.retrieval_features(queries, gallery), settings))


def _evaluate_generalized(
    subject: SplitFeatures, names: Sequence[str], settings: MetricSettings
) -> dict[str, dict[str, Any]]:
    """Micro means by generalised protocol, with its sizes; strided and drawn galleries don't apply."""
    whole = [protocol for protocol in settings.protocols if protocol.gallery == "all"]
    found = {}
    for name in names:
        rows = generalized_test_set(name, subject.manifest, subject.split, settings.seed)
        queries, gallery = (
            rows.queries[subject.pack.ok[rows.queries]],
            rows.gallery[subject.pack.ok[rows.gallery]],
        )
        values = compute_protocol_values(
            subject.retrieval_features(queries, gallery), MetricSettings(whole, seed=settings.seed)
        )
        sizes = {
            "queries": len(queries),
            "gallery": len(gallery),
            "added": rows.added,
            "classes": list(rows.classes),
        }
        found[name] = {**sizes, "protocols": micro_means(values)}
    return found


def _describe_split_evaluation(
    subject: SplitFeatures, queries: SplitRows, gallery: SplitRows, seed: int
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


def _check_readable_images(queries: SplitRows, gallery: SplitRows, split: Split) -> None:
    for rows, what in ((queries, "sketches"), (gallery, "photos")):
        if not len(rows):
            raise EvaluationError(
                f"the data holds no readable {what} of the unseen classes of {split.name}",
                "ssl-sbir data list shows what there is.",
            )
