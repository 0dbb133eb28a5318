"""Two data sets joined into one, such as a folder of sketches and shards of photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ssl_sbir.data.manifest import Domain, ImageSource, Manifest, StreamedSource
from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of


@dataclass(frozen=True)
class JoinedSource:
    """Images of several sources; a key begins with the number of its source and a `/`."""

    parts: tuple[ImageSource, ...]

    def open(self, key: str, size: int) -> Image.Image:
        """The image of a key."""
        part, rest = _split_joined_key(key)
        return self.parts[part].open(rest, size)

    def load_into_memory(self, keys: Sequence[str]) -> "JoinedSource":
        """The same source with the bytes of some images in memory, for those parts that are streams."""
        sources = (
            source.load_into_memory(own_keys) if isinstance(source, StreamedSource) else source
            for source, own_keys in zip(self.parts, self._keys_by_part(keys), strict=True)
        )
        return JoinedSource(tuple(sources))

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash that changes when an image behind one of the keys changes."""
        pairs = zip(self.parts, self._keys_by_part(keys), strict=True)
        return sha256_of(*(source.fingerprint(own_keys) for source, own_keys in pairs))

    def path(self, key: str) -> Path | None:
        """The file of a key, or None if it has none of its own."""
        part, rest = _split_joined_key(key)
        return self.parts[part].path(rest)

    def _keys_by_part(self, keys: Iterable[str]) -> list[list[str]]:
        by_part: list[list[str]] = [[] for _ in self.parts]
        for part, rest in map(_split_joined_key, keys):
            by_part[part].append(rest)
        return by_part


def add_photos_from(manifest: Manifest, photo_manifest: Manifest) -> Manifest:
    """A manifest's images followed by the photos of another one.

    Raises:
        DataError: the other one has no photos.
    """
    photos = photo_manifest.select_rows(photo_manifest.find_rows(domain=Domain.PHOTO))
    if not len(photos):
        raise DataError(
            f"{photo_manifest.name} holds no photo",
            "Name photos with --photos, such as shards:x-{00..09}.tar",
        )
    # Without the classes of which the other one has sketches alone.
    photo_classes = {photos.classes[code] for code in np.unique(photos.label) if code >= 0}
    classes = tuple(sorted({*manifest.classes, *photo_classes}))
    sides = (manifest, photos)
    return Manifest(
        name=f"{manifest.name} + {photos.name}",
        source=JoinedSource(tuple(it.source for it in sides)),
        keys=StringColumn.from_strings(f"{part}/{key}" for part, it in enumerate(sides) for key in it.keys),
        domain=np.concatenate([it.domain for it in sides]),
        label=np.concatenate([_renumber_labels(it, classes) for it in sides]),
        classes=classes,
        instance=np.concatenate([manifest.instance, _shift_instances(photos.instance, manifest.instance)]),
        texts=StringColumn.from_strings(text for it in sides for text in it.texts),
        text=np.concatenate(
            [manifest.text, np.where(photos.text < 0, -1, photos.text + len(manifest.texts))]
        ).astype(np.int32),
        warnings=manifest.warnings + photos.warnings,
        read_errors=manifest.read_errors + photos.read_errors,
    )


def _split_joined_key(key: str) -> tuple[int, str]:
    part, _, rest = key.partition("/")
    return int(part), rest


def _renumber_labels(manifest: Manifest, classes: tuple[str, ...]) -> npt.NDArray[np.int32]:
    new_label = {name: label for label, name in enumerate(classes)}
    table = np.array([*(new_label.get(name, -1) for name in manifest.classes), -1], dtype=np.int32)
    return table[manifest.label]  # −1 takes the last entry, which is −1


def _shift_instances(instance: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    first = int(others.max(initial=-1)) + 1
    return np.where(instance < 0, -1, instance + first)
