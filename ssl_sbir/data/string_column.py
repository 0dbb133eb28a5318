"""A column of strings that costs their bytes and eight more each."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

# File names may hold bytes that are no UTF-8; Python carries them as lone surrogates, and so do we.
_ERRORS = "surrogateescape"
_GATHER_BLOCK = 1 << 16


class StringColumn:
    """A read-only column of strings: one UTF-8 blob and n + 1 offsets.

    Args:
        blob: uint8, all strings one after the other.
        offsets: int64 [n + 1], where each begins and the last ends.
    """

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self.blob = blob
        self.offsets = offsets

    @classmethod
    def from_strings(cls, strings: Iterable[str]) -> "StringColumn":
        """A column of these strings, read once and never held as Python objects together."""
        blob, offsets = bytearray(), array("q", [0])
        for string in strings:
            blob += string.encode("utf-8", _ERRORS)
            offsets.append(len(blob))
        return cls(np.frombuffer(blob, dtype=np.uint8), np.frombuffer(offsets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        place = range(len(self))[index]
        return self.blob[self.offsets[place] : self.offsets[place + 1]].tobytes().decode("utf-8", _ERRORS)

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.blob.nbytes + self.offsets.nbytes)

    def take_rows(self, rows: npt.NDArray[np.int64]) -> "StringColumn":
        """The strings at these rows, in that order; repeats are allowed."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        blob = np.empty(offsets[-1], dtype=np.uint8)
        for first in range(
            0, len(rows), _GATHER_BLOCK
        ):  # a gather index is 8 times its bytes: never all at once
            part = slice(first, first + _GATHER_BLOCK)
            begin, end = offsets[first], offsets[min(first + _GATHER_BLOCK, len(rows))]
            shift = np.repeat(starts[part] - offsets[:-1][part], lengths[part])
            blob[begin:end] = self.blob[shift + np.arange(begin, end)]
        return StringColumn(blob, offsets)
