"""Evaluation of an encoder on the unseen classes of a split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from ssl_sbir.data.loading import Pack, prepare
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.check import Features
from ssl_sbir.evaluation.embeddings import evaluation, refuse_lacking
from ssl_sbir.evaluation.generalised import generalised
from ssl_sbir.evaluation.image_audits import image_audits
from ssl_sbir.evaluation.measured import Settings, means, values_of
from ssl_sbir.evaluation.measures import Ties
from ssl_sbir.evaluation.protocols import Protocol
from ssl_sbir.evaluation.protocols import protocols as named
from ssl_sbir.evaluation.result import Evaluation, Metrics
from ssl_sbir.evaluation.split_features import Centre, Embed, Rows, SplitFeatures
from ssl_sbir.evaluation.uncertainty import DRAWS
from ssl_sbir.files import sha256_of
from ssl_sbir.retrieval.embeddings import embed, weights_sha256
from ssl_sbir.retrieval.ranking import Ranking, rank

SHOWN = 20  # results of a sketch that are kept
STRIDES = {"tuberlin": (3, 20), "quickdraw": (120, 30)}  # zse-strided's, by data set; 20 and 10 elsewhere


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
    queries: Rows
    gallery: Rows


@dataclass(frozen=True)
class Evaluated:
    """An evaluation with what it is about.

    Attributes:
        result: the figures.
        test: the images.
        features: what was compared.
        ranking: the first results of every sketch by cosine; `ids` are places in `test.gallery`.
    """

    result: Evaluation
    test: TestSet
    features: Features
    ranking: Ranking

    @property
    def facts(self) -> dict[str, Any]:
        """The figures, JSON-able, with `protocols.<preset>.<metric>`."""
        return self.result.json()


def evaluate(
    encoder: Encoder,
    manifest: Manifest,
    split: Split,
    *,
    pack: Pack | None = None,
    protocols: Iterable[str | Protocol] | None = None,
    ties: Ties | None = None,
    centre: Centre = "none",
    gzs: Iterable[str] = (),
    bits: Iterable[int] = (),
    frozen: Encoder | None = None,
    trained_classes: Iterable[str] = (),
    labelled_classes: Iterable[str] | None = None,
    trained_images: Rows | None = None,
    missing: Literal["exclude", "error"] = "exclude",
    name: str = "this encoder",
    seed: int = 0,
    draws: int = DRAWS,
    device: str = "cpu",
    batch_size: int = 64,
    cache: bool = True,
    embedder: Embed | None = None,
) -> Evaluated:
    """An encoder's figures on the unseen classes: every sketch asks, every photo answers.

    Args:
        encoder: what is evaluated.
        manifest: the images; those of seen classes are needed for `centre`, `bits` and `gzs` only.
        split: seen and unseen classes; restricted to the classes that are there.
        pack: the pixels at the encoder's size; prepared where None.
        protocols: preset names or own ones; all presets by default.
        ties: a tie rule in the place of each protocol's own.
        centre: `train` subtracts from each feature the mean of its domain over images of seen classes.
        gzs: generalised protocols: `all-seen`, `sempcyc`, `ocean`, `drclip`.
        bits: lengths of binary codes, fitted on images of seen classes.
        frozen: the untrained encoder at the start of the run, or of the runs it came from, for its row.
        trained_classes: names whose images training used, for the integrity audit.
        labelled_classes: those of them whose labels it read; all by default.
        trained_images: hashes of the images that training used (`ssl_sbir.data.pixels`), where they are known.
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

    def own(encoder: Encoder, pack: Pack, manifest: Manifest, rows: Rows) -> Tensor:
        return embed(encoder, pack, manifest, rows, batch_size=batch_size, device=device, cache=cache)

    def fresh(manifest: Manifest, rows: Rows) -> Tensor:
        if embedder is not None:
            return embedder(encoder, pixels, manifest, rows)
        return embed(encoder, pixels, manifest, rows, batch_size=batch_size, device=device, cache=False)

    settings = Settings(named(protocols, ties), STRIDES.get(split.name.split("-")[0], (20, 10)), seed, draws)
    split = split.restrict(manifest.classes)
    pixels = pack or prepare(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)
    subject = SplitFeatures(encoder, pixels, manifest, split, centre, embedder or own)
    queries, gallery = subject.rows(Domain.SKETCH, split.unseen), subject.rows(Domain.PHOTO, split.unseen)
    _refuse_empty(queries, gallery, split)
    features = subject.compared(queries, gallery)
    refuse_lacking(features, missing)
    bits = tuple(bits)
    found = evaluation(
        features,
        settings,
        image_audits(
            features,
            manifest,
            pixels,
            split,
            queries,
            gallery,
            fresh,
            tuple(trained_classes),
            None if labelled_classes is None else tuple(labelled_classes),
            trained_images,
        ),
        name=name,
        bits=bits,
        training=subject.training() if bits else None,
        instances=(manifest.instance[queries], manifest.instance[gallery]),
    )
    result = replace(
        found,
        generalised=_generalised(subject, tuple(gzs), settings),
        frozen=_frozen(frozen, subject, settings, own, queries, gallery),
        facts=_facts(subject, queries, gallery, seed),
    )
    ranking = rank(
        features.query,
        features.gallery,
        SHOWN,
        query_labels=features.query_labels,
        gallery_labels=features.gallery_labels,
    )
    return Evaluated(result, TestSet(manifest, pixels, split, queries, gallery), features, ranking)


def _frozen(
    encoder: Encoder | None,
    subject: SplitFeatures,
    settings: Settings,
    own: Embed,
    queries: Rows,
    gallery: Rows,
) -> dict[str, Metrics] | None:
    if encoder is None:
        return None
    wanted, have = encoder.preprocess, subject.pack
    same = (wanted.size, wanted.fit) == (have.size, have.fit)
    pack = have if same else prepare(subject.manifest, wanted.size, fit=wanted.fit)
    other = SplitFeatures(encoder, pack, subject.manifest, subject.split, subject.centre, own)
    return means(values_of(other.compared(queries, gallery), settings))


def _generalised(
    subject: SplitFeatures, names: Sequence[str], settings: Settings
) -> dict[str, dict[str, Any]]:
    """Micro means by generalised protocol, with its sizes; strided and drawn galleries don't apply."""
    whole = [protocol for protocol in settings.protocols if protocol.gallery == "all"]
    found = {}
    for name in names:
        rows = generalised(name, subject.manifest, subject.split, settings.seed)
        queries, gallery = (
            rows.queries[subject.pack.ok[rows.queries]],
            rows.gallery[subject.pack.ok[rows.gallery]],
        )
        values = values_of(subject.compared(queries, gallery), Settings(whole, seed=settings.seed))
        sizes = {
            "queries": len(queries),
            "gallery": len(gallery),
            "added": rows.added,
            "classes": list(rows.classes),
        }
        found[name] = {**sizes, "protocols": means(values)}
    return found


def _facts(subject: SplitFeatures, queries: Rows, gallery: Rows, seed: int) -> dict[str, Any]:
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
        "encoder": {"width": subject.encoder.width, "weights_sha256": weights_sha256(subject.encoder)},
        "unreadable": int((~subject.pack.ok).sum()),
        "size": subject.pack.size,
        "centre": subject.centre,
        "seed": seed,
    }


def _refuse_empty(queries: Rows, gallery: Rows, split: Split) -> None:
    for rows, what in ((queries, "sketches"), (gallery, "photos")):
        if not len(rows):
            raise EvaluationError(
                f"the data holds no readable {what} of the unseen classes of {split.name}",
                "ssl-sbir data list shows what there is.",
            )
