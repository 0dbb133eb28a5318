"""Which images there are, as columns; building or moving a manifest never reads a pixel."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.string_column import StringColumn

__all__ = ["Domain", "ImageSource", "Manifest", "ManifestRows", "StreamedSource", "StringColumn"]

ManifestRows = npt.NDArray[np.int64]


class Domain(IntEnum):
    """The two kinds of image; a conditioned encoder gets it as a tag."""

    SKETCH = 0
    PHOTO = 1


@runtime_checkable
class ImageSource(Protocol):
    """Opens the images of a manifest's keys."""

    def open(self, key: str, size: int) -> Image.Image:
        """The image of a key, in any mode; a vector drawing is rendered at `size` pixels."""

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash that changes when one of the keys' images changes; reads no pixel."""

    def path(self, key: str) -> Path | None:
        """The file of a key, or None if it has none of its own."""


@runtime_checkable
class StreamedSource(ImageSource, Protocol):
    """A source that is faster to read front to back than image by image."""

    def load_into_memory(self, keys: Sequence[str]) -> ImageSource:
        """A source with the bytes of these keys in memory; called by one thread, in the order of the manifest."""


@dataclass(frozen=True, eq=False)
class Manifest:
    """The images of one data set, one row each.

    Attributes:
        name: the spec it was opened from, such as "folder:pets".
        source: opens the images.
        keys: n names that `source` understands.
        domain: uint8 [n], a `Domain`.
        label: int32 [n], index into `classes`, −1 for none.
        classes: class names, normalised and sorted.
        instance: int64 [n], equal for a photo and the sketches drawn from it, −1 for none.
        texts: distinct descriptions.
        text: int32 [n], row of `texts`, −1 for none.
        warnings: what was skipped or looks wrong, a sentence each.
        read_errors: what can't be read, such as a truncated shard, a sentence each.
    """

    name: str
    source: ImageSource
    keys: StringColumn
    domain: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    classes: tuple[str, ...]
    instance: npt.NDArray[np.int64]
    texts: StringColumn
    text: npt.NDArray[np.int32]
    warnings: tuple[str, ...] = ()
    read_errors: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of the columns: equal for equal trees, wherever they are."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for column in (*self._string_buffers(), self.domain, self.label, self.instance, self.text):
            digest.update(len(column).to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes held by the columns."""
        return sum(
            column.nbytes
            for column in (*self._string_buffers(), self.domain, self.label, self.instance, self.text)
        )

    def find_rows(self, domain: Domain | None = None, classes: Collection[str] | None = None) -> ManifestRows:
        """The row numbers, ascending, of one domain and some classes (None: of all, labelled or not)."""
        keep = np.ones(len(self), dtype=bool)
        if domain is not None:
            keep &= self.domain == domain
        if classes is not None:
            wanted = {normalize_class_name(name) for name in classes}
            labels = [label for label, name in enumerate(self.classes) if name in wanted]
            keep &= np.isin(self.label, labels)
        return np.flatnonzero(keep).astype(np.int64)

    def select_rows(self, rows: ManifestRows) -> "Manifest":
        """A manifest of these rows in this order; class numbers don't change."""
        return replace(
            self,
            keys=self.keys.take_rows(rows),
            domain=self.domain[rows],
            label=self.label[rows],
            instance=self.instance[rows],
            text=self.text[rows],
        )

    def without_labels(self) -> "Manifest":
        """The same images without class, instance and text: what pretraining may see."""
        none = np.full(len(self), -1)
        return replace(
            self,
            label=none.astype(np.int32),
            classes=(),
            instance=none.astype(np.int64),
            texts=StringColumn.from_strings([]),
            text=none.astype(np.int32),
        )

    def count_by_class(self) -> dict[str, tuple[int, int]]:
        """(sketches, photos) of each class."""
        table = np.zeros((len(self.classes), 2), dtype=np.int64)
        labelled = self.label >= 0
        np.add.at(table, (self.label[labelled], self.domain[labelled]), 1)
        return {name: (int(row[0]), int(row[1])) for name, row in zip(self.classes, table, strict=True)}

    def text_of_row(self, row: int) -> str | None:
        """The description of a row, or None."""
        index = int(self.text[row])
        return self.texts[index] if index >= 0 else None

    def _string_buffers(self) -> tuple[npt.NDArray[np.generic], ...]:
        return self.keys.blob, self.keys.offsets, self.texts.blob, self.texts.offsets
