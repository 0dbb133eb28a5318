"""Two data sets as one: shards of photos beside a folder of sketches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ssl_sbir.data.manifest import Domain, ImageSource, Manifest, Streamed
from ssl_sbir.data.strings import Strings
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of


@dataclass(frozen=True)
class JoinedSource:
    """Images of several sources; a key begins with the number of its source and a `/`."""

    parts: tuple[ImageSource, ...]

    def open(self, key: str, size: int) -> Image.Image:
        """The image of a key."""
        part, rest = _split(key)
        return self.parts[part].open(rest, size)

    def held(self, keys: Sequence[str]) -> "JoinedSource":
        """The same, with the bytes of some images read now where a source is a stream."""
        of: list[list[str]] = [[] for _ in self.parts]
        for part, rest in map(_split, keys):
            of[part].append(rest)
        found = (
            source.held(mine) if isinstance(source, Streamed) else source
            for source, mine in zip(self.parts, of, strict=True)
        )
        return JoinedSource(tuple(found))

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash that changes when an image behind one of the keys changes."""
        of: list[list[str]] = [[] for _ in self.parts]
        for part, rest in map(_split, keys):
            of[part].append(rest)
        return sha256_of(*(it.fingerprint(mine) for it, mine in zip(self.parts, of, strict=True)))

    def path(self, key: str) -> Path | None:
        """The file of a key, or None where there is none."""
        part, rest = _split(key)
        return self.parts[part].path(rest)


def with_photos(manifest: Manifest, more: Manifest) -> Manifest:
    """A manifest's images, and behind them the photos of another one.

    Raises:
        DataError: the other one has no photo.
    """
    photos = more.select(more.rows(domain=Domain.PHOTO))
    if not len(photos):
        raise DataError(
            f"{more.name} holds no photo", "Name photos with --photos, such as shards:x-{00..09}.tar"
        )
    met = {
        photos.classes[code] for code in np.unique(photos.label) if code >= 0
    }  # not those of its sketches alone
    classes = tuple(sorted({*manifest.classes, *met}))
    sides = (manifest, photos)
    return Manifest(
        name=f"{manifest.name} + {photos.name}",
        source=JoinedSource(tuple(it.source for it in sides)),
        keys=Strings.of(f"{part}/{key}" for part, it in enumerate(sides) for key in it.keys),
        domain=np.concatenate([it.domain for it in sides]),
        label=np.concatenate([_renumbered(it, classes) for it in sides]),
        classes=classes,
        instance=np.concatenate([manifest.instance, _behind(photos.instance, manifest.instance)]),
        texts=Strings.of(text for it in sides for text in it.texts),
        text=np.concatenate(
            [manifest.text, np.where(photos.text < 0, -1, photos.text + len(manifest.texts))]
        ).astype(np.int32),
        warnings=manifest.warnings + photos.warnings,
        lost=manifest.lost + photos.lost,
    )


def _split(key: str) -> tuple[int, str]:
    part, _, rest = key.partition("/")
    return int(part), rest


def _renumbered(manifest: Manifest, classes: tuple[str, ...]) -> npt.NDArray[np.int32]:
    place = {name: number for number, name in enumerate(classes)}
    numbers = np.array([*(place.get(name, -1) for name in manifest.classes), -1], dtype=np.int32)
    return numbers[manifest.label]  # −1 takes the last one, which is −1


def _behind(instance: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    first = int(others.max(initial=-1)) + 1
    return np.where(instance < 0, -1, instance + first)
