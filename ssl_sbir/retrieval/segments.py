"""Rows of an index on disk: vectors, ids and metadata, written once and only mapped afterwards."""

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

from ssl_sbir.data.strings import Strings
from ssl_sbir.errors import GalleryError
from ssl_sbir.retrieval.gallery import Metadata

Rows = npt.NDArray[np.int64]
VECTORS, DAMAGED = "vectors.f32", "Make the index anew: ssl-sbir index … --overwrite"


class Segment:
    """Some rows of an index.

    Attributes:
        name: of its folder.
        vectors: float32 memory map [rows, width].
        gone: bool [rows], the rows that were removed or replaced.
        gone_file: where `gone` is kept; None while nothing is gone.
    """

    def __init__(self, index: Path, name: str, rows: int, width: int, gone: str | None = None) -> None:
        self.folder, self.name, self.gone_file = index / name, name, gone
        try:
            # Copy-on-write only because torch warns of maps that can't be written; nobody writes.
            self.vectors = np.memmap(self.folder / VECTORS, np.float32, "c", shape=(rows, width))
            self._ids = _column(self.folder, "ids", rows)
            self._metadata = _column(self.folder, "metadata", rows)
            self.keys: npt.NDArray[np.uint64] = np.load(self.folder / "keys.npy", allow_pickle=False)
            stored = np.load(self.folder / gone, allow_pickle=False) if gone else np.zeros(rows, bool)
        except (ValueError, EOFError) as error:
            raise GalleryError(f"{self.folder} is damaged: {error}", DAMAGED) from error
        if (
            not len(self.keys) == len(stored) == rows
            or os.path.getsize(self.folder / VECTORS) != rows * width * 4
        ):
            raise GalleryError(f"{self.folder} is damaged: its files disagree about {rows} rows", DAMAGED)
        self.gone: npt.NDArray[np.bool_] = stored

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def live(self) -> int:
        """How many rows are not gone."""
        return len(self) - int(self.gone.sum())

    def rows_of(self, ids: Sequence[str], keys: npt.NDArray[np.uint64]) -> Rows:
        """The live row of each id, −1 where there is none."""
        order, rows = self._order, np.full(len(ids), -1, dtype=np.int64)
        places = np.searchsorted(self.keys, keys, sorter=order)
        for place in np.flatnonzero(places < len(self)).tolist():
            at = int(places[place])
            while at < len(order) and self.keys[order[at]] == keys[place]:
                row = int(order[at])
                if not self.gone[row] and self.id_of(row) == ids[place]:
                    rows[place] = row
                at += 1
        return rows

    def block(self, start: int, rows: int) -> Float[Tensor, "b d"]:
        """Some rows' vectors, mapped rather than read."""
        return torch.from_numpy(self.vectors[start : start + rows])

    def id_of(self, row: int) -> str:
        """The id of a row."""
        return json.loads(self._ids[row])

    def metadata_of(self, row: int) -> dict[str, Any]:
        """What was stored with a row."""
        return json.loads(self._metadata[row])

    @cached_property
    def _order(self) -> Rows:
        return np.argsort(self.keys, kind="stable")


class Draft:
    """A segment in the making: rows are appended, `finish` makes the files whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.rows = folder, 0
        self._file: IO[bytes] = open(folder / VECTORS, "wb")  # noqa: SIM115 - closed by finish
        self._keys: list[npt.NDArray[np.uint64]] = []
        self._of: dict[str, int] = {}
        self._columns = {"ids": bytearray(), "metadata": bytearray()}
        self._offsets: dict[str, list[npt.NDArray[np.int64]]] = {"ids": [], "metadata": []}
        self._gone: list[int] = []

    def append(self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata]) -> None:
        """Adds rows; earlier rows of the same ids are gone."""
        self.remove(ids)
        self._file.write(vectors.contiguous().numpy().data)
        self._keys.append(keys_of(ids))
        self._of.update(zip(ids, range(self.rows, self.rows + len(ids)), strict=True))
        self._add_strings("ids", [json.dumps(name) for name in ids])
        self._add_strings("metadata", [json.dumps(facts) for facts in metadata])
        self.rows += len(ids)

    def remove(self, ids: Collection[str]) -> int:
        """How many of these items were there and are now gone."""
        rows = [row for name in ids if (row := self._of.pop(name, None)) is not None]
        self._gone += rows
        return len(rows)

    def finish(self) -> npt.NDArray[np.bool_]:
        """Which rows are gone already; every file is on disk afterwards."""
        _closed(self._file)
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        _saved(self.folder / "keys.npy", keys)
        for name, blob in self._columns.items():
            _saved(self.folder / f"{name}.npy", np.frombuffer(bytes(blob), np.uint8))
            _saved(
                self.folder / f"{name}-offsets.npy",
                np.concatenate([np.zeros(1, np.int64), *self._offsets[name]]),
            )
        gone = np.zeros(self.rows, bool)
        gone[self._gone] = True
        return gone

    def abandon(self) -> None:
        """Closes the open file; what was written is for whoever tidies up."""
        self._file.close()

    def _add_strings(self, name: str, strings: Sequence[str]) -> None:
        column = Strings.of(strings)
        self._offsets[name].append(column.offsets[1:] + len(self._columns[name]))
        self._columns[name] += column.blob.tobytes()


def keys_of(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each id."""
    digests = b"".join(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, np.uint64)


def save_gone(folder: Path, name: str, gone: npt.NDArray[np.bool_]) -> None:
    """Writes which rows of a segment are gone."""
    _saved(folder / name, gone)


def _column(folder: Path, name: str, rows: int) -> Strings:
    blob = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    offsets = np.load(folder / f"{name}-offsets.npy", allow_pickle=False)
    if len(offsets) != rows + 1 or offsets[-1] != len(blob):
        raise ValueError(f"{name} are cut off")
    return Strings(blob, offsets)


def _saved(path: Path, array: npt.NDArray[np.generic]) -> None:
    file = open(path, "wb")  # noqa: SIM115 - closed below, after it reached the disk
    try:
        np.save(file, array, allow_pickle=False)
    finally:
        _closed(file)


def _closed(file: IO[bytes]) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())
