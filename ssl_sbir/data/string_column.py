"""A column of strings that takes their bytes and eight more per string."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

# File names may hold bytes that are no UTF-8; Python represents them as lone surrogates, and so do we.
_ERRORS = "surrogateescape"
_GATHER_BLOCK = 1 << 16


class StringColumn:
    """A read-only column of strings: one UTF-8 blob and n + 1 offsets.

    Args:
        blob: uint8, all strings concatenated.
        offsets: int64 [n + 1], where each string begins and the last one ends.
    """

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self.blob = blob
        self.offsets = offsets

    @classmethod
    def from_strings(cls, strings: Iterable[str]) -> "StringColumn":
        """A column of these strings, which are iterated once and never all in memory as Python objects."""
        blob, offsets = bytearray(), array("q", [0])
        for string in strings:
            blob += string.encode("utf-8", _ERRORS)
            offsets.append(len(blob))
        return cls(np.frombuffer(blob, dtype=np.uint8), np.frombuffer(offsets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        row = range(len(self))[index]
        return self.blob[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-8", _ERRORS)

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes of the column."""
        return int(self.blob.nbytes + self.offsets.nbytes)

    def take_rows(self, rows: npt.NDArray[np.int64]) -> "StringColumn":
        """The strings at these rows, in that order; repeats are allowed."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        blob = np.empty(offsets[-1], dtype=np.uint8)
        # In blocks: a gather index takes 8 times the bytes that it selects.
        for first in range(0, len(rows), _GATHER_BLOCK):
            part = slice(first, first + _GATHER_BLOCK)
            begin, end = offsets[first], offsets[min(first + _GATHER_BLOCK, len(rows))]
            shift = np.repeat(starts[part] - offsets[:-1][part], lengths[part])
            blob[begin:end] = self.blob[shift + np.arange(begin, end)]
        return StringColumn(blob, offsets)
