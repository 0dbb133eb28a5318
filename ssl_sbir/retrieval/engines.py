"""How the rows of an index are searched, by the engine's name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.retrieval.exact import ExactSearch
from ssl_sbir.retrieval.faiss_search import FaissSearch
from ssl_sbir.retrieval.segments import Segment


@runtime_checkable
class Search(Protocol):
    """How the rows of one segment are searched."""

    def build(self, folder: Path, segment: Segment) -> None:
        """Writes what the engine needs beside the rows."""

    def nearest(
        self, segment: Segment, queries: Float[Tensor, "q d"], k: int
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Scores and rows of about the k best of each query, in no order; −inf where there are fewer."""

    def forget(self, segments: Sequence[Segment]) -> None:
        """Keeps nothing of segments other than these."""


def search_of(engine: str, device: str = "cpu") -> Search:
    """The way to search that an engine's name stands for.

    Raises:
        GalleryError: there is no such engine, or it isn't installed.
    """
    name, _, kind = engine.partition(":")
    if name == "exact" and not kind:
        return ExactSearch(device)
    if name == "faiss":
        return FaissSearch(kind or "flat")
    raise GalleryError(
        f"unknown engine '{engine}'", "One of: exact, faiss, faiss:hnsw, faiss:ivf, milvus:URI"
    )
