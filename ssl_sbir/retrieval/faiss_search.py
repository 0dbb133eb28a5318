"""Search by faiss: all rows (flat), or by a graph (HNSW) or by cells (IVF), which miss some."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.progress import progress
from ssl_sbir.retrieval.segments import DAMAGED, Segment

KINDS = ("flat", "hnsw", "ivf")
FEW = 2_000  # rows; a smaller segment is searched exactly
BLOCK, STEP = 65_536, 4_096  # rows at a time; so many of a graph, which takes milliseconds a row
# Of the graph: links a row, candidates while building, at least so many seen.
LINKS, EFFORT, LEAST = 32, 80, 128
SHARE = 8  # one cell of so many is looked into
INDEX = "index.faiss"


class FaissSearch:
    """Searches segments by faiss; `hnsw` and `ivf` keep a file of theirs in each segment.

    Args:
        kind: one of `KINDS`.

    Raises:
        GalleryError: faiss isn't installed, or there is no such kind.
    """

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise GalleryError(f"unknown kind of faiss index '{kind}'", f"One of: {', '.join(KINDS)}")
        self.kind, self._faiss = kind, _faiss()
        self._open: dict[Path, Any] = {}

    def build(self, folder: Path, segment: Segment) -> None:
        """Writes the graph or the cells of a segment into its folder."""
        if self.kind == "flat" or len(segment) < FEW:
            return
        index, step = self._empty(len(segment), segment.vectors), STEP if self.kind == "hnsw" else BLOCK
        with progress(len(segment), f"building {self.kind}", "row") as counter:
            for start in range(0, len(segment), step):
                part = segment.vectors[start : start + step]
                index.add(part)
                counter.advance(len(part))
        try:
            self._faiss.write_index(index, str(folder / INDEX))
        except RuntimeError as error:  # a full disk, too
            raise OSError(f"faiss can't write it: {error}") from error
        with open(folder / INDEX, "rb+") as written:
            os.fsync(written.fileno())

    def nearest(
        self, segment: Segment, queries: Float[Tensor, "q d"], k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Scores and rows of the k best of each query; −inf where there are fewer."""
        index = self._opened(segment)
        scores, rows = index.search(queries.numpy(), k, params=self._how(index, segment, k))
        found = torch.from_numpy(scores).masked_fill_(torch.from_numpy(rows) < 0, -torch.inf)
        return found, torch.from_numpy(rows)

    def forget(self, segments: Sequence[Segment]) -> None:
        """Keeps nothing of segments other than these."""
        kept = {segment.folder for segment in segments}
        self._open = {folder: index for folder, index in self._open.items() if folder in kept}

    def _how(self, index: Any, segment: Segment, k: int) -> Any:
        faiss = self._faiss
        chosen = {"sel": faiss.IDSelectorBitmap(np.packbits(~segment.gone, bitorder="little"))}
        if not segment.gone.any():
            chosen = {}
        if isinstance(index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(LEAST, 2 * k), **chosen)
        if isinstance(index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(nprobe=max(1, index.nlist // SHARE), **chosen)
        return faiss.SearchParameters(**chosen) if chosen else None

    def _opened(self, segment: Segment) -> Any:
        if segment.folder not in self._open:
            file = segment.folder / INDEX
            self._open[segment.folder] = self._read(file, segment) if file.is_file() else self._flat(segment)
        return self._open[segment.folder]

    def _read(self, file: Path, segment: Segment) -> Any:
        try:
            index = self._faiss.read_index(str(file))
        except RuntimeError as error:
            raise GalleryError(f"{file} can't be read: {error}", DAMAGED) from error
        if index.ntotal != len(segment) or index.d != segment.vectors.shape[1]:
            raise GalleryError(f"{file} is of another segment", DAMAGED)
        return index

    def _flat(self, segment: Segment) -> Any:
        index = self._faiss.IndexFlatIP(segment.vectors.shape[1])
        for start in range(0, len(segment), BLOCK):
            index.add(segment.vectors[start : start + BLOCK])
        return index

    def _empty(self, rows: int, vectors: np.ndarray) -> Any:
        faiss, width = self._faiss, vectors.shape[1]
        if self.kind == "hnsw":
            graph = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efConstruction = EFFORT
            return graph
        cells = min(int(4 * math.sqrt(rows)), rows // 40)  # faiss wants 39 rows or more to place a cell
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
        sample = np.linspace(0, rows - 1, min(rows, 40 * cells)).astype(np.int64)
        if len(sample) > BLOCK:  # minutes without a word from faiss
            print(f"placing {cells:,} cells among {len(sample):,} vectors", file=sys.stderr)
        index.train(np.ascontiguousarray(vectors[sample]))
        return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise GalleryError(
            "this index is searched by faiss, which is not installed", "pip install 'ssl-sbir[faiss]'"
        ) from error
    return faiss
