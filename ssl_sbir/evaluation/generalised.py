"""Generalised zero-shot retrieval: seen classes in the gallery too. Four papers, four meanings, four names."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.splits import Split
from ssl_sbir.errors import EvaluationError
from ssl_sbir.registry import did_you_mean

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Gzs:
    """One meaning of "generalised": the queries, the gallery, what was added in words, and added whole classes."""

    queries: Rows
    gallery: Rows
    added: str
    classes: tuple[str, ...] = ()


def generalised(name: str, manifest: Manifest, split: Split, seed: int = 0) -> Gzs:
    """Queries and gallery of one generalised protocol; rows of the manifest, ascending.

    `all-seen`: unseen sketches; photos of all classes. `sempcyc`: sketches and photos of unseen classes, and as many
    random ones of seen classes as 20 % of their number (SEM-PCYC's released test.py). `ocean`: photos of
    round(.2·|unseen|) whole seen classes are added. `drclip`: of round(.2·|seen|).

    Raises:
        EvaluationError: no protocol has that name.
    """
    if name not in MEANINGS:
        raise EvaluationError(
            f"unknown generalised protocol '{name}'.{did_you_mean(name, MEANINGS)}",
            f"Known: {', '.join(MEANINGS)}.",
        )
    return MEANINGS[name](manifest, split, np.random.default_rng(seed))


def _all_seen(manifest: Manifest, split: Split, _: np.random.Generator) -> Gzs:
    photos = manifest.rows(Domain.PHOTO, (*split.seen, *split.unseen))
    return Gzs(manifest.rows(Domain.SKETCH, split.unseen), photos, "photos of all seen classes")


def _sempcyc(manifest: Manifest, split: Split, draw: np.random.Generator) -> Gzs:
    sides = []
    for domain in (Domain.SKETCH, Domain.PHOTO):
        unseen, seen = manifest.rows(domain, split.unseen), manifest.rows(domain, split.seen)
        count = min(int(0.2 * len(unseen)), len(seen))
        sides.append(np.sort(np.concatenate([draw.choice(seen, count, replace=False), unseen])))
    return Gzs(sides[0], sides[1], "a random fifth as many sketches and photos of seen classes")


def _whole_classes(side: str) -> Callable[[Manifest, Split, np.random.Generator], Gzs]:
    def meaning(manifest: Manifest, split: Split, draw: np.random.Generator) -> Gzs:
        count = min(round(0.2 * len(getattr(split, side))), len(split.seen))
        chosen = sorted(draw.choice(split.seen, count, replace=False).tolist())
        photos = manifest.rows(Domain.PHOTO, (*chosen, *split.unseen))
        added = f"photos of {count} whole seen classes, drawn by the seed"
        return Gzs(manifest.rows(Domain.SKETCH, split.unseen), photos, added, tuple(chosen))

    return meaning


MEANINGS: dict[str, Callable[[Manifest, Split, np.random.Generator], Gzs]] = {
    "all-seen": _all_seen,
    "sempcyc": _sempcyc,
    "ocean": _whole_classes("unseen"),
    "drclip": _whole_classes("seen"),
}
