"""Which images each training step reads: a pure function of the seed and the step."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ssl_sbir.data.manifest import Domain, ManifestRows
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import ConfigError, DataError

BATCH_KEYS = {Domain.SKETCH: "batch.sketches", Domain.PHOTO: "batch.photos"}
"""The settings that say how many images of each domain a batch holds."""


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

    def sample_own_sketches(self, photos: ManifestRows, random: np.random.Generator) -> ManifestRows:
        """One random sketch of each photo that has any, in the photos' order."""
        ordered, wanted = self.instance[self.sketches], self.instance[photos]
        first, last = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
        chosen = first + (random.random(len(photos)) * (last - first)).astype(np.int64)
        return self.sketches[chosen[(last > first) & (wanted >= 0)]]


@dataclass(frozen=True)
class BatchSchedule:
    """Which rows each step reads: a pure function of seed and step, so that any step can be resumed.

    In each epoch of a domain every row of it comes once, in a new order; a rest below one batch is left out.

    Attributes:
        rows: rows of each domain.
        sizes: how many of each domain a batch holds.
        seed: decides the orders.
        photo_sketch_pairs: the pairs, where a batch holds photos with their own sketches.
    """

    rows: dict[Domain, ManifestRows]
    sizes: dict[Domain, int]
    seed: int
    photo_sketch_pairs: PhotoSketchPairs | None = None

    @classmethod
    def from_training_set(
        cls, data: TrainingSet, sketches: int, photos: int, seed: int, *, pairs: bool = False
    ) -> "BatchSchedule":
        """Batches of that many sketches and photos; if one domain is absent, the other fills the batch.

        With `pairs`, a batch begins with sketches of its own photos, one of each photo that has any.

        Raises:
            ConfigError: pairs are requested for a batch that holds one domain only.
            DataError: a batch is larger than the data, or pairs are requested and none is known.
        """
        requested = {Domain.SKETCH: sketches, Domain.PHOTO: photos}
        sizes = {d: n for d, n in requested.items() if len(data.rows[d]) and n}
        if not sizes:
            raise DataError(
                f"{data.manifest.name} has no images of the domains that a batch requests", "See batch.*."
            )
        if len(sizes) == 1:
            (only,) = sizes
            if pairs:
                raise _one_domain_pairs_error(only)
            sizes = {only: sum(requested.values())}
        for domain, size in sizes.items():
            if size > len(data.rows[domain]):
                raise _batch_too_large_error(data, domain, size, requested, alone=len(sizes) == 1)
        known_pairs = PhotoSketchPairs.from_training_set(data) if pairs else None
        return cls({d: data.rows[d] for d in sizes}, sizes, seed, known_pairs)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every row of the larger domain comes once (but a rest below one batch)."""
        return max(len(self.rows[d]) // n for d, n in self.sizes.items())

    def rows_of_step(self, step: int) -> ManifestRows:
        """The rows that a step reads: its sketches first, then its photos."""
        rows = {d: self._domain_rows(d, step) for d in sorted(self.sizes)}
        if self.photo_sketch_pairs is not None:
            rows[Domain.SKETCH] = self._put_own_sketches_first(rows[Domain.SKETCH], rows[Domain.PHOTO], step)
        return np.concatenate(list(rows.values()))

    def _put_own_sketches_first(
        self, sketches: ManifestRows, photos: ManifestRows, step: int
    ) -> ManifestRows:
        assert self.photo_sketch_pairs is not None
        random = np.random.default_rng((self.seed, len(Domain), step))
        own = self.photo_sketch_pairs.sample_own_sketches(photos, random)
        others = sketches[~np.isin(sketches, own)]
        return np.concatenate([own, others])[: len(sketches)]

    def _domain_rows(self, domain: Domain, step: int) -> ManifestRows:
        size, rows = self.sizes[domain], self.rows[domain]
        epoch, batch = divmod(step, len(rows) // size)
        order = _shuffle_indices(len(rows), self.seed, domain, epoch)
        return rows[order[batch * size : (batch + 1) * size]]


@lru_cache(maxsize=4)  # all steps of an epoch ask for the same order, one of each domain
def _shuffle_indices(count: int, seed: int, domain: Domain, epoch: int) -> ManifestRows:
    order = np.random.default_rng((seed, int(domain), epoch)).permutation(count)
    order.flags.writeable = False
    return order


def _one_domain_pairs_error(domain: Domain) -> ConfigError:
    return ConfigError(
        f"batch.pairs: a batch holds {BATCH_KEYS[domain].removeprefix('batch.')} only",
        "Give photos and sketches, and batch.photos and batch.sketches above 0, or leave it out.",
    )


def _batch_too_large_error(
    data: TrainingSet, domain: Domain, size: int, requested: dict[Domain, int], *, alone: bool
) -> DataError:
    name, count = domain.name.lower(), len(data.rows[domain])
    keys = [key for of, key in BATCH_KEYS.items() if requested[of] and (of is domain or alone)]
    shared = f": {BATCH_KEYS[domain].removeprefix('batch.')} fill the whole batch." if len(keys) > 1 else "."
    return DataError(
        f"a batch needs {size} {name} images but {data.manifest.name} has {count}",
        f"Lower {' and '.join(keys)} with --set{shared}",
    )
