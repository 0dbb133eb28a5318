"""What a run trains on: the rows of each domain, the batches of every step, and nothing of unseen classes."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray

from ssl_sbir.data.batches import Batch, Pack, load_batch
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.errors import ConfigError, DataError

ManifestRows = NDArray[np.int64]
PIXEL_CHECK_CHUNK = 256  # images read at a time


@dataclass(frozen=True)
class TrainingSet:
    """Images a run may see.

    Attributes:
        manifest: all images of the data set.
        pack: their pixels.
        rows: readable rows of each domain that belong to this run.
        classes: names of the seen classes in label order; empty without labels.
        labelled: which rows of the manifest the run may read the label of; None for all.
        restricted_to: names of the classes whose images these are, and no other's; None for whatever is there.
    """

    manifest: Manifest
    pack: Pack
    rows: dict[Domain, ManifestRows]
    classes: tuple[str, ...] = ()
    labelled: NDArray[np.bool_] | None = None
    restricted_to: tuple[str, ...] | None = None

    @classmethod
    def from_manifest(
        cls, manifest: Manifest, pack: Pack, classes: tuple[str, ...] | None, *, labelled: bool
    ) -> "TrainingSet":
        """The readable images of some classes.

        Args:
            manifest: all images.
            pack: their pixels, row by row.
            classes: whose images to take; None takes all images, labelled or not.
            labelled: whether the run may read the labels.

        Raises:
            DataError: nothing is left to train on, all images of a domain are one and the same, or labels are
                wanted where there are none.
        """
        rows = {d: _readable_rows(manifest.find_rows(domain=d, classes=classes), pack) for d in Domain}
        if not any(len(r) for r in rows.values()):
            raise DataError(
                f"{manifest.name} has no readable image to train on", "ssl-sbir data verify says why."
            )
        _check_images_differ(manifest, rows, pack)
        only = classes
        if labelled:
            classes = classes or manifest.classes
            _check_both_domains(manifest, rows, classes)
        return cls(manifest, pack, rows, (classes or ()) if labelled else (), restricted_to=only)

    @cached_property
    def labels(self) -> Int[torch.Tensor, " n"]:
        """Label of every row of the manifest as an index into `classes`; -1 where there is none."""
        table = torch.full((len(self.manifest.classes) + 1,), -1, dtype=torch.int64)
        place = {name: i for i, name in enumerate(self.classes)}
        for code, name in enumerate(self.manifest.classes):
            table[code] = place.get(name, -1)
        labels = table[torch.from_numpy(self.manifest.label.astype(np.int64))]
        return labels if self.labelled is None else labels.where(torch.from_numpy(self.labelled), -1)

    def index_by_row(self, *domains: Domain) -> Int[torch.Tensor, " n"]:
        """Where each row of the manifest stands among the run's rows of some domains, in that order; else -1."""
        rows = torch.cat([torch.from_numpy(self.rows[domain]) for domain in domains])
        place = torch.full((len(self.manifest),), -1, dtype=torch.int64)
        place[rows] = torch.arange(len(rows))
        return place

    def read_batch(self, rows: ManifestRows) -> Batch:
        """The images of some rows, uint8, with their labels (all -1 without labels)."""
        return replace(load_batch(self.pack, self.manifest, rows), label=self.labels[torch.from_numpy(rows)])


def _readable_rows(rows: ManifestRows, pack: Pack) -> ManifestRows:
    return rows[pack.ok[rows]]


def _check_images_differ(manifest: Manifest, rows: dict[Domain, ManifestRows], pack: Pack) -> None:
    for domain, part in rows.items():
        starts = range(0, len(part), PIXEL_CHECK_CHUNK)
        first = pack.read_images(part[:1])
        if len(part) > 1 and all(
            (pack.read_images(part[at : at + PIXEL_CHECK_CHUNK]) == first).all() for at in starts
        ):
            raise DataError(
                f"all {len(part):,} {domain.name.lower()} images of {manifest.name} show the same pixels",
                "There is nothing to tell them apart by: check where they came from (ssl-sbir data preview).",
            )


def _check_both_domains(
    manifest: Manifest, rows: dict[Domain, ManifestRows], classes: tuple[str, ...]
) -> None:
    for domain, what in ((Domain.SKETCH, "sketch"), (Domain.PHOTO, "photo")):
        there = {manifest.classes[code] for code in np.unique(manifest.label[rows[domain]]) if code >= 0}
        missing = sorted(set(classes) - there)
        if missing:
            raise DataError(
                f"class '{missing[0]}' of {manifest.name} has no readable {what}"
                + (f" (and {len(missing) - 1} more classes)" if len(missing) > 1 else ""),
                "Fine-tuning needs both sides of every seen class: add images, or leave the class out.",
            )


@dataclass(frozen=True)
class PhotoSketchPairs:
    """Which sketches were drawn after which photo.

    Attributes:
        instance: of every row of the manifest; -1 where it isn't known.
        sketches: rows of the sketches whose photo is known, ordered by instance.
    """

    instance: ManifestRows
    sketches: ManifestRows

    @classmethod
    def from_training_set(cls, data: TrainingSet) -> "PhotoSketchPairs":
        """The pairs among a run's images.

        Raises:
            DataError: there are none.
        """
        instance = data.manifest.instance
        known = data.rows[Domain.SKETCH][instance[data.rows[Domain.SKETCH]] >= 0]
        if not np.isin(instance[data.rows[Domain.PHOTO]], instance[known]).any():
            raise DataError(
                f"{data.manifest.name} doesn't say which sketch was drawn after which photo",
                "Give it a pairs.csv (see ssl-sbir data list), or leave out batch.pairs.",
            )
        return cls(instance, known[np.argsort(instance[known], kind="stable")])

    def __call__(self, photos: ManifestRows, random: np.random.Generator) -> ManifestRows:
        """One own sketch of each photo that has any, in the photos' order."""
        ordered, wanted = self.instance[self.sketches], self.instance[photos]
        first, last = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
        chosen = first + (random.random(len(photos)) * (last - first)).astype(np.int64)
        return self.sketches[chosen[(last > first) & (wanted >= 0)]]


BATCH_KEYS = {Domain.SKETCH: "batch.sketches", Domain.PHOTO: "batch.photos"}
"""The settings that say how many images of each domain a batch holds."""


@dataclass(frozen=True)
class BatchSchedule:
    """Which rows each step reads: a pure function of seed and step, so that any step can be resumed.

    In each epoch of a domain every row of it comes once, in a new order.

    Attributes:
        rows: rows of each domain.
        sizes: how many of each domain a batch holds.
        seed: decides the orders.
        photo_sketch_pairs: whose sketches are whose, where a batch holds photos with their own sketches.
    """

    rows: dict[Domain, ManifestRows]
    sizes: dict[Domain, int]
    seed: int
    photo_sketch_pairs: "PhotoSketchPairs | None" = None
    _orders: dict[Domain, tuple[int, ManifestRows]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_training_set(
        cls, data: TrainingSet, sketches: int, photos: int, seed: int, *, pairs: bool = False
    ) -> "BatchSchedule":
        """Batches of that many sketches and photos; an absent domain gives its places to the other.

        With `pairs`, the first sketches of a batch are own ones of its photos, one of each photo that has any.

        Raises:
            ConfigError: pairs are wanted of a batch that holds one domain.
            DataError: a batch is larger than the data it is drawn from, or pairs are wanted and none is known.
        """
        sizes = {Domain.SKETCH: sketches, Domain.PHOTO: photos}
        present = {d: n for d, n in sizes.items() if len(data.rows[d]) and n}
        if not present:
            raise DataError(
                f"{data.manifest.name} has none of the images that a batch asks for", "See batch.*."
            )
        if len(present) == 1:
            (alone,) = present
            if pairs:
                raise ConfigError(
                    f"batch.pairs: a batch holds {BATCH_KEYS[alone].removeprefix('batch.')} alone",
                    "Give photos and sketches, and batch.photos and batch.sketches above 0, or leave it out.",
                )
            present = {alone: sum(sizes.values())}
        for d, n in present.items():
            if n > len(data.rows[d]):
                asked = [
                    key for of, key in BATCH_KEYS.items() if sizes[of] and (of is d or len(present) == 1)
                ]
                raise DataError(
                    f"a batch wants {n} {d.name.lower()} images but {data.manifest.name} has {len(data.rows[d])}",
                    f"Lower {' and '.join(asked)} with --set"
                    + (
                        f": {BATCH_KEYS[d].removeprefix('batch.')} take the places of both."
                        if len(asked) > 1
                        else "."
                    ),
                )
        return cls(
            {d: data.rows[d] for d in present},
            present,
            seed,
            PhotoSketchPairs.from_training_set(data) if pairs else None,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every row of the larger domain came once (a rest below one batch is put off)."""
        return max(len(self.rows[d]) // n for d, n in self.sizes.items())

    def rows_of_step(self, step: int) -> ManifestRows:
        """Rows of step `rows_of_step`: its sketches first, then its photos."""
        drawn = {d: self._domain_rows(d, step) for d in sorted(self.sizes)}
        if self.photo_sketch_pairs is not None:
            own = self.photo_sketch_pairs(
                drawn[Domain.PHOTO], np.random.default_rng((self.seed, len(Domain), step))
            )
            rest = drawn[Domain.SKETCH][~np.isin(drawn[Domain.SKETCH], own)]
            drawn[Domain.SKETCH] = np.concatenate([own, rest])[: self.sizes[Domain.SKETCH]]
        return np.concatenate(list(drawn.values()))

    def _domain_rows(self, domain: Domain, step: int) -> ManifestRows:
        size, rows = self.sizes[domain], self.rows[domain]
        epoch, place = divmod(step, len(rows) // size)
        return self._epoch_order(domain, epoch)[place * size : (place + 1) * size]

    def _epoch_order(self, domain: Domain, epoch: int) -> ManifestRows:
        """The rows in an epoch's order; the last one asked for is kept, as all steps of an epoch ask for it."""
        kept = self._orders.get(domain)
        if kept is None or kept[0] != epoch:
            generator = np.random.default_rng((self.seed, int(domain), epoch))
            kept = (epoch, self.rows[domain][generator.permutation(len(self.rows[domain]))])
            self._orders[domain] = kept
        return kept[1]
