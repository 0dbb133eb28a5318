"""An encoder's numbers on the unseen classes of a data set, beside those of the frozen encoder and of chance."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ssl_sbir.data.loading import Pack, prepare
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.embeddings import Measured, evaluate_embeddings
from ssl_sbir.evaluation.protocols import protocols
from ssl_sbir.retrieval.embeddings import embed, weights_sha256
from ssl_sbir.retrieval.ranking import Ranking, rank

Centre = Literal["none", "train"]
SHOWN = 20
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TestSet:
    """The readable images of a split's unseen classes.

    Attributes:
        manifest: all images of the data set.
        pack: their pixels.
        split: cut down to the classes that are there.
        queries: rows of the unseen classes' sketches.
        gallery: rows of the unseen classes' photos.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    manifest: Manifest
    pack: Pack
    split: Split
    queries: Rows
    gallery: Rows

    @classmethod
    def of(cls, manifest: Manifest, split: Split, size: int, fit: str) -> "TestSet":
        """The test set of a split, decoded at an encoder's size.

        Raises:
            EvaluationError: there is no readable sketch or no readable photo of an unseen class.
        """
        split = split.restrict(manifest.classes)
        pack = prepare(manifest, size, fit=fit)
        rows = {d: manifest.rows(domain=d, classes=split.unseen) for d in Domain}
        rows = {d: r[pack.ok[r]] for d, r in rows.items()}
        for domain, found in rows.items():
            if not len(found):
                raise EvaluationError(
                    f"{manifest.name} has no readable {domain.name.lower()} of the {len(split.unseen)} unseen classes",
                    "An evaluation needs both: ssl-sbir data verify says what is there.",
                )
        return cls(manifest, pack, split, rows[Domain.SKETCH], rows[Domain.PHOTO])

    def labels(self, rows: Rows) -> Int[Tensor, " n"]:
        """The class of some rows as an index into the split's unseen classes."""
        place = {name: i for i, name in enumerate(self.split.unseen)}
        table = np.array([place.get(name, -1) for name in self.manifest.classes])
        return torch.from_numpy(table[self.manifest.label[rows]])


@dataclass(frozen=True)
class Evaluation:
    """What came out of an evaluation.

    Attributes:
        facts: JSON-able: protocols, intervals, counts, hashes, warnings.
        test: what it was measured on.
        measured: this encoder's numbers.
        ranking: the first places of every query, under the cosine.
    """

    facts: dict[str, Any]
    test: TestSet
    measured: Measured
    ranking: Ranking


def evaluate(
    encoder: Encoder,
    manifest: Manifest,
    split: Split,
    *,
    frozen: Encoder | None = None,
    protocol: Iterable[str] | None = None,
    centre: Centre = "none",
    trained_classes: Collection[str] = (),
    device: str = "cpu",
    cache: bool = True,
) -> Evaluation:
    """Sketch → photo retrieval among the unseen classes.

    Args:
        encoder: what to measure.
        manifest: the data.
        split: its unseen classes are tested; seen ones only give the means under `centre`.
        frozen: the encoder that training started from, for the row it must be compared with.
        protocol: preset names; None for all.
        centre: `train` subtracts from each embedding its domain's mean over the seen classes' images.
        trained_classes: classes whose images the encoder was trained on, for the integrity check.
        device: where to embed.
        cache: whether embeddings may be kept and reused.

    Raises:
        EvaluationError: there is nothing to test on, or features are broken.
    """
    protocols(protocol)  # a misspelt name must not cost an embedding
    test = TestSet.of(manifest, split, encoder.preprocess.size, encoder.preprocess.fit)
    query, gallery = _embedded(encoder, test, centre, device, cache)
    labels = test.labels(test.queries), test.labels(test.gallery)
    measured = evaluate_embeddings(query, labels[0], gallery, labels[1], protocol=protocol)
    ranking = rank(query, labels[0], gallery, labels[1], SHOWN)
    baseline = None if frozen is None else _baseline(frozen, manifest, split, protocol, centre, device, cache)
    facts = _facts(encoder, test, measured, baseline, centre, trained_classes)
    return Evaluation(facts, test, measured, ranking)


def _baseline(
    frozen: Encoder,
    manifest: Manifest,
    split: Split,
    protocol: Iterable[str] | None,
    centre: Centre,
    device: str,
    cache: bool,
) -> Measured:
    test = TestSet.of(manifest, split, frozen.preprocess.size, frozen.preprocess.fit)
    query, gallery = _embedded(frozen, test, centre, device, cache)
    labels = test.labels(test.queries), test.labels(test.gallery)
    return evaluate_embeddings(query, labels[0], gallery, labels[1], protocol=protocol)


def _embedded(
    encoder: Encoder, test: TestSet, centre: Centre, device: str, cache: bool
) -> tuple[Float[Tensor, "q d"], Float[Tensor, "n d"]]:
    def features(rows: Rows) -> Tensor:
        return embed(encoder, test.pack, test.manifest, rows, device=device, cache=cache)

    query, gallery = features(test.queries), features(test.gallery)
    if centre == "none":
        return query, gallery
    seen = [test.manifest.rows(domain=d, classes=test.split.seen) for d in (Domain.SKETCH, Domain.PHOTO)]
    sketches, photos = (rows[test.pack.ok[rows]] for rows in seen)
    return query - features(sketches).mean(0), gallery - features(photos).mean(0)


def _facts(
    encoder: Encoder,
    test: TestSet,
    measured: Measured,
    baseline: Measured | None,
    centre: Centre,
    trained_classes: Collection[str],
) -> dict[str, Any]:
    split = test.split
    return {
        "warnings": _warnings(split, measured, trained_classes),
        "protocols": _micro(measured),
        "macro": _each(measured, "macro"),
        "over_queries": _each(measured, "over_queries"),
        "over_classes": _each(measured, "over_classes"),
        "frozen": None if baseline is None else _micro(baseline),
        "frozen_over_queries": None if baseline is None else _each(baseline, "over_queries"),
        "chance": measured.chance,
        "queries": measured.queries,
        "gallery": measured.gallery,
        "without_relevant": measured.without_relevant,
        "per_class": {name: value for name, value in zip(split.unseen, measured.per_class.tolist(), strict=False)},
        "split": {"name": split.name, "sha256": split.sha256, "unseen": split.unseen},
        "data": test.manifest.name,
        "manifest_sha256": test.manifest.sha256,
        "left_out": len(test.pack.broken),
        "centre": centre,
        "size": encoder.preprocess.size,
        "width": encoder.width,
        "weights_sha256": weights_sha256(encoder),
        "definitions": {p.name: {"definition": p.definition(), "source": p.source} for p in protocols(measured.numbers)},
    }


def _micro(measured: Measured) -> dict[str, dict[str, float]]:
    return {name: {m: n.micro for m, n in metrics.items()} for name, metrics in measured.numbers.items()}


def _each(measured: Measured, part: str) -> dict[str, dict[str, Any]]:
    return {name: {m: getattr(n, part) for m, n in metrics.items()} for name, metrics in measured.numbers.items()}


def _warnings(split: Split, measured: Measured, trained_classes: Collection[str]) -> list[str]:
    lines = []
    leaked = sorted(set(split.unseen) & set(trained_classes))
    if leaked:
        names = ", ".join(leaked[:5]) + (" …" if len(leaked) > 5 else "")
        lines.append(f"NOT ZERO-SHOT: trained on images of {len(leaked)} classes that count as unseen here ({names})")
    if measured.without_relevant:
        lines.append(f"{measured.without_relevant} queries have no photo of their class and take no part")
    return lines
