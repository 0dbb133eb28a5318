"""Search by faiss: over all rows (flat), or approximately by a graph (HNSW) or cells (IVF)."""

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
from ssl_sbir.gallery.segments import REINDEX_HINT, Segment
from ssl_sbir.progress import show_progress

FAISS_KINDS = ("flat", "hnsw", "ivf")
MIN_ROWS_FOR_INDEX = 2_000  # a smaller segment is searched exactly
FAISS_BLOCK_ROWS = 65_536
HNSW_BLOCK_ROWS = 4_096  # a graph takes milliseconds per row
# Links per row, candidates while building, minimum number of candidates while searching.
HNSW_LINKS, HNSW_EF_CONSTRUCTION, HNSW_MIN_EF_SEARCH = 32, 80, 128
IVF_CELLS_PER_PROBE = 8  # one of so many cells is searched
FAISS_INDEX_FILE = "index.faiss"


class FaissSearch:
    """Searches segments by faiss; `hnsw` and `ivf` store an index file in each segment.

    Args:
        kind: one of `FAISS_KINDS`.

    Raises:
        GalleryError: faiss isn't installed, or the kind is unknown.
    """

    def __init__(self, kind: str) -> None:
        if kind not in FAISS_KINDS:
            raise GalleryError(f"unknown kind of faiss index '{kind}'", f"One of: {', '.join(FAISS_KINDS)}")
        self.kind, self._faiss = kind, _import_faiss()
        self._open_indexes: dict[Path, Any] = {}

    def build_index(self, folder: Path, segment: Segment) -> None:
        """Writes the graph or the cells of a segment into its folder."""
        if self.kind == "flat" or len(segment) < MIN_ROWS_FOR_INDEX:
            return
        index = self._create_trained_index(len(segment), segment.vectors)
        step = HNSW_BLOCK_ROWS if self.kind == "hnsw" else FAISS_BLOCK_ROWS
        with show_progress(len(segment), f"building {self.kind}", "row") as counter:
            for start in range(0, len(segment), step):
                part = segment.vectors[start : start + step]
                index.add(part)
                counter.advance(len(part))
        try:
            self._faiss.write_index(index, str(folder / FAISS_INDEX_FILE))
        except RuntimeError as error:  # a full disk, too
            raise OSError(f"faiss can't write it: {error}") from error
        with open(folder / FAISS_INDEX_FILE, "rb+") as written:
            os.fsync(written.fileno())

    def nearest_rows(
        self, segment: Segment, queries: Float[Tensor, "q d"], k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Scores and rows of the k best of each query; −inf where there are fewer."""
        index = self._index_of_segment(segment)
        scores, rows = index.search(queries.numpy(), k, params=self._search_parameters(index, segment, k))
        found = torch.from_numpy(rows)
        return torch.from_numpy(scores).masked_fill_(found < 0, -torch.inf), found

    def keep_only(self, segments: Sequence[Segment]) -> None:
        """Releases the indexes of other segments."""
        folders = {segment.folder for segment in segments}
        self._open_indexes = {key: index for key, index in self._open_indexes.items() if key in folders}

    def _search_parameters(self, index: Any, segment: Segment, k: int) -> Any:
        faiss = self._faiss
        live = np.packbits(~segment.gone, bitorder="little")
        selector = {"sel": faiss.IDSelectorBitmap(live)} if segment.gone.any() else {}
        if isinstance(index, faiss.IndexHNSW):
            return faiss.SearchParametersHNSW(efSearch=max(HNSW_MIN_EF_SEARCH, 2 * k), **selector)
        if isinstance(index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(nprobe=max(1, index.nlist // IVF_CELLS_PER_PROBE), **selector)
        return faiss.SearchParameters(**selector) if selector else None

    def _index_of_segment(self, segment: Segment) -> Any:
        if segment.folder not in self._open_indexes:
            file = segment.folder / FAISS_INDEX_FILE
            self._open_indexes[segment.folder] = (
                self._read_faiss_index(file, segment) if file.is_file() else self._build_flat_index(segment)
            )
        return self._open_indexes[segment.folder]

    def _read_faiss_index(self, file: Path, segment: Segment) -> Any:
        try:
            index = self._faiss.read_index(str(file))
        except RuntimeError as error:
            raise GalleryError(f"{file} can't be read: {error}", REINDEX_HINT) from error
        if index.ntotal != len(segment) or index.d != segment.vectors.shape[1]:
            raise GalleryError(f"{file} belongs to another segment", REINDEX_HINT)
        return index

    def _build_flat_index(self, segment: Segment) -> Any:
        index = self._faiss.IndexFlatIP(segment.vectors.shape[1])
        for start in range(0, len(segment), FAISS_BLOCK_ROWS):
            index.add(segment.vectors[start : start + FAISS_BLOCK_ROWS])
        return index

    def _create_trained_index(self, rows: int, vectors: np.ndarray) -> Any:
        faiss, width = self._faiss, vectors.shape[1]
        if self.kind == "hnsw":
            graph = faiss.IndexHNSWFlat(width, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
            return graph
        cells = min(int(4 * math.sqrt(rows)), rows // 40)  # faiss asks for at least 39 rows per cell
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
        sample = np.linspace(0, rows - 1, min(rows, 40 * cells)).astype(np.int64)
        if len(sample) > FAISS_BLOCK_ROWS:  # takes minutes, and faiss shows no progress
            print(f"placing {cells:,} cells among {len(sample):,} vectors", file=sys.stderr)
        index.train(np.ascontiguousarray(vectors[sample]))
        return index


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise GalleryError(
            "this index needs faiss, which is not installed", "pip install 'ssl-sbir[faiss]'"
        ) from error
    return faiss
