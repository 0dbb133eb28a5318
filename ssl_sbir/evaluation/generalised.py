"""Generalised zero-shot retrieval, with seen classes in the gallery too: four definitions from four papers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.data.splits import Split
from ssl_sbir.errors import EvaluationError
from ssl_sbir.registry import did_you_mean


@dataclass(frozen=True)
class GeneralizedTestSet:
    """The test set of one generalised protocol.

    Attributes:
        queries: rows of the sketches.
        gallery: rows of the photos.
        added: what of the seen classes was added, in words.
        classes: seen classes that were added as a whole.
    """

    queries: ManifestRows
    gallery: ManifestRows
    added: str
    classes: tuple[str, ...] = ()


def generalized_test_set(name: str, manifest: Manifest, split: Split, seed: int = 0) -> GeneralizedTestSet:
    """Queries and gallery of one generalised protocol; rows of the manifest, ascending.

    `all-seen`: unseen sketches; photos of all classes. `sempcyc`: sketches and photos of unseen classes, and as many
    random ones of seen classes as 20 % of their number (SEM-PCYC's released test.py). `ocean`: photos of
    round(.2·|unseen|) whole seen classes are added. `drclip`: of round(.2·|seen|).

    Raises:
        EvaluationError: no protocol has that name.
    """
    if name not in GENERALIZED_PROTOCOLS:
        raise EvaluationError(
            f"unknown generalised protocol '{name}'.{did_you_mean(name, GENERALIZED_PROTOCOLS)}",
            f"Known: {', '.join(GENERALIZED_PROTOCOLS)}.",
        )
    return GENERALIZED_PROTOCOLS[name](manifest, split, np.random.default_rng(seed))


def _with_all_seen_photos(manifest: Manifest, split: Split, _: np.random.Generator) -> GeneralizedTestSet:
    photos = manifest.find_rows(Domain.PHOTO, (*split.seen, *split.unseen))
    return GeneralizedTestSet(
        manifest.find_rows(Domain.SKETCH, split.unseen), photos, "photos of all seen classes"
    )


def _with_sempcyc_fifth(manifest: Manifest, split: Split, draw: np.random.Generator) -> GeneralizedTestSet:
    sides = []
    for domain in (Domain.SKETCH, Domain.PHOTO):
        unseen, seen = manifest.find_rows(domain, split.unseen), manifest.find_rows(domain, split.seen)
        count = min(int(0.2 * len(unseen)), len(seen))
        sides.append(np.sort(np.concatenate([draw.choice(seen, count, replace=False), unseen])))
    return GeneralizedTestSet(
        sides[0], sides[1], "a random fifth as many sketches and photos of seen classes"
    )


def _with_whole_seen_classes(
    side: str,
) -> Callable[[Manifest, Split, np.random.Generator], GeneralizedTestSet]:
    def build_test_set(manifest: Manifest, split: Split, draw: np.random.Generator) -> GeneralizedTestSet:
        count = min(round(0.2 * len(getattr(split, side))), len(split.seen))
        chosen = sorted(draw.choice(split.seen, count, replace=False).tolist())
        photos = manifest.find_rows(Domain.PHOTO, (*chosen, *split.unseen))
        added = f"photos of {count} whole seen classes, sampled by the seed"
        return GeneralizedTestSet(
            manifest.find_rows(Domain.SKETCH, split.unseen), photos, added, tuple(chosen)
        )

    return build_test_set


GENERALIZED_PROTOCOLS: dict[str, Callable[[Manifest, Split, np.random.Generator], GeneralizedTestSet]] = {
    "all-seen": _with_all_seen_photos,
    "sempcyc": _with_sempcyc_fifth,
    "ocean": _with_whole_seen_classes("unseen"),
    "drclip": _with_whole_seen_classes("seen"),
}
