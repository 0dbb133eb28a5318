"""Rows of an index on disk: vectors, ids and metadata, written once and then memory-mapped."""

import json
import os
from collections.abc import Collection, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.errors import GalleryError
from ssl_sbir.gallery.base import Metadata

RowIndices = npt.NDArray[np.int64]
VECTORS_FILE, REINDEX_HINT = "vectors.f32", "Make the index again: ssl-sbir index … --overwrite"


class Segment:
    """Some rows of an index.

    Attributes:
        name: of its folder.
        vectors: float32 memory map [rows, width].
        gone: bool [rows], the rows that were removed or replaced.
        gone_file: file of `gone`; None while nothing is gone.
    """

    def __init__(self, index: Path, name: str, rows: int, width: int, gone: str | None = None) -> None:
        self.folder, self.name, self.gone_file = index / name, name, gone
        try:
            # Copy-on-write only because torch warns of read-only maps; nothing writes to it.
            self.vectors = np.memmap(self.folder / VECTORS_FILE, np.float32, "c", shape=(rows, width))
            self._ids = _load_strings(self.folder, "ids", rows)
            self._metadata = _load_strings(self.folder, "metadata", rows)
            self.keys: npt.NDArray[np.uint64] = np.load(self.folder / "keys.npy", allow_pickle=False)
            stored = np.load(self.folder / gone, allow_pickle=False) if gone else np.zeros(rows, bool)
        except (ValueError, EOFError) as error:
            raise GalleryError(f"{self.folder} is damaged: {error}", REINDEX_HINT) from error
        if (
            not len(self.keys) == len(stored) == rows
            or os.path.getsize(self.folder / VECTORS_FILE) != rows * width * 4
        ):
            raise GalleryError(
                f"{self.folder} is damaged: its files disagree about {rows} rows", REINDEX_HINT
            )
        self.gone: npt.NDArray[np.bool_] = stored

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_live(self) -> int:
        """The number of rows that are not gone."""
        return len(self) - int(self.gone.sum())

    def find_rows(self, ids: Sequence[str], keys: npt.NDArray[np.uint64]) -> RowIndices:
        """The live row of each id, −1 where there is none."""
        order, rows = self._key_order, np.full(len(ids), -1, dtype=np.int64)
        positions = np.searchsorted(self.keys, keys, sorter=order)
        for index in np.flatnonzero(positions < len(self)).tolist():
            position = int(positions[index])
            while position < len(order) and self.keys[order[position]] == keys[index]:
                row = int(order[position])
                if not self.gone[row] and self.id_of(row) == ids[index]:
                    rows[index] = row
                position += 1
        return rows

    def block_vectors(self, start: int, rows: int) -> Float[Tensor, "b d"]:
        """Vectors of some rows, mapped rather than read."""
        return torch.from_numpy(self.vectors[start : start + rows])

    def id_of(self, row: int) -> str:
        """The id of a row."""
        return json.loads(self._ids[row])

    def metadata_of(self, row: int) -> dict[str, Any]:
        """The metadata of a row."""
        return json.loads(self._metadata[row])

    @cached_property
    def _key_order(self) -> RowIndices:
        return np.argsort(self.keys, kind="stable")


class SegmentWriter:
    """Writes a segment: rows are appended, `finish_segment` completes its files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.rows = folder, 0
        self._file: IO[bytes] = open(folder / VECTORS_FILE, "wb")  # noqa: SIM115 - closed by finish_segment
        self._keys: list[npt.NDArray[np.uint64]] = []
        self._row_of_id: dict[str, int] = {}
        self._columns = {"ids": bytearray(), "metadata": bytearray()}
        self._offsets: dict[str, list[npt.NDArray[np.int64]]] = {"ids": [], "metadata": []}
        self._gone: list[int] = []

    def append_rows(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata]
    ) -> None:
        """Appends rows; earlier rows of the same ids are marked as gone."""
        self.remove(ids)
        self._file.write(vectors.contiguous().numpy().data)
        self._keys.append(hash_ids(ids))
        self._row_of_id.update(zip(ids, range(self.rows, self.rows + len(ids)), strict=True))
        self._add_strings("ids", [json.dumps(name) for name in ids])
        self._add_strings("metadata", [json.dumps(facts) for facts in metadata])
        self.rows += len(ids)

    def remove(self, ids: Collection[str]) -> int:
        """Marks items as gone and returns how many of them existed."""
        rows = [row for name in ids if (row := self._row_of_id.pop(name, None)) is not None]
        self._gone += rows
        return len(rows)

    def finish_segment(self) -> npt.NDArray[np.bool_]:
        """Writes all files to disk and returns which rows are gone already, bool [rows]."""
        _close_synced(self._file)
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        _save_array_synced(self.folder / "keys.npy", keys)
        for name, blob in self._columns.items():
            _save_array_synced(self.folder / f"{name}.npy", np.frombuffer(bytes(blob), np.uint8))
            _save_array_synced(
                self.folder / f"{name}-offsets.npy",
                np.concatenate([np.zeros(1, np.int64), *self._offsets[name]]),
            )
        gone = np.zeros(self.rows, bool)
        gone[self._gone] = True
        return gone

    def close_unfinished(self) -> None:
        """Closes the open file; `remove_unnamed_files` removes what was written."""
        self._file.close()

    def _add_strings(self, name: str, strings: Sequence[str]) -> None:
        column = StringColumn.from_strings(strings)
        self._offsets[name].append(column.offsets[1:] + len(self._columns[name]))
        self._columns[name] += column.blob.tobytes()


def hash_ids(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each id."""
    digests = b"".join(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, np.uint64)


def save_gone_rows(folder: Path, name: str, gone: npt.NDArray[np.bool_]) -> None:
    """Writes which rows of a segment are gone."""
    _save_array_synced(folder / name, gone)


def _load_strings(folder: Path, name: str, rows: int) -> StringColumn:
    blob = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    offsets = np.load(folder / f"{name}-offsets.npy", allow_pickle=False)
    if len(offsets) != rows + 1 or offsets[-1] != len(blob):
        raise ValueError(f"{name} are truncated")
    return StringColumn(blob, offsets)


def _save_array_synced(path: Path, array: npt.NDArray[np.generic]) -> None:
    file = open(path, "wb")  # noqa: SIM115 - closed below, after a sync
    try:
        np.save(file, array, allow_pickle=False)
    finally:
        _close_synced(file)


def _close_synced(file: IO[bytes]) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())
