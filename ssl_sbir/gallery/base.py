"""The interface of every gallery: named vectors that an engine searches."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import GalleryError

Metadata = Mapping[str, Any]
WRITE_WAIT_SECONDS = 600.0  # for another process that writes


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item found for a query.

    Attributes:
        id: its name in the gallery.
        score: product of the query and the item's unit vector; their cosine for a unit query.
        metadata: stored with it.
    """

    id: str
    score: float
    metadata: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Gallery(Protocol):
    """Vectors by name. They are stored at unit length, so that a product with a unit query is a cosine.

    Attributes:
        engine: `exact`, `faiss:flat`, `faiss:hnsw`, `faiss:ivf` or `milvus:INDEX-TYPE`.
        width: length of a vector.
    """

    engine: str
    width: int

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the index, such as the model whose embeddings it holds."""

    def __len__(self) -> int:
        """The number of items."""

    def add(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata] | None = None
    ) -> None:
        """Adds items; an item with an existing id replaces the older one.

        Args:
            ids: any strings, each once.
            vectors: [n, d], of any length; a zero vector scores 0 everywhere.
            metadata: JSON-able, one per item.

        Raises:
            GalleryError: a duplicate id, a vector that is not finite or has another width, or the index can't be
                written.
        """

    def remove(self, ids: Collection[str]) -> int:
        """Removes items and returns how many of them existed."""

    def search(self, vectors: Float[Tensor, "q d"], k: int) -> list[list[Neighbour]]:
        """The k nearest items of each query, best first; fewer where the gallery is smaller.

        Raises:
            GalleryError: the queries have another width or aren't finite, or the engine doesn't answer.
        """

    def get_vectors(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """The unit vectors [n, d] of some items, in the given order.

        Raises:
            GalleryError: an item doesn't exist.
        """

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields id and metadata of every item."""

    def update_facts(self, **facts: Any) -> None:
        """Replaces some facts; they are JSON-able."""

    def write_transaction(self, wait: float = WRITE_WAIT_SECONDS) -> AbstractContextManager[None]:
        """Locks the index for several changes, which all take effect at the end.

        Args:
            wait: seconds to wait for another process that is writing.

        Raises:
            GalleryError: another process is still writing after that time.
        """

    def recall_facts(self) -> dict[str, float]:
        """The measured `recall@10` against exact search; empty for engines that find everything, and for Milvus."""

    def close(self) -> None:
        """Releases files and connections."""


def validate_items(
    ids: Sequence[str], vectors: Tensor, metadata: Sequence[Metadata] | None, width: int
) -> tuple[Float[Tensor, "n d"], Sequence[Metadata]]:
    """The items' unit vectors, float32 on the CPU, and their metadata.

    Raises:
        GalleryError: a duplicate id, or a vector that can't be stored.
    """
    if len(ids) != len(vectors) or (metadata is not None and len(metadata) != len(ids)):
        counts = f"{len(ids)} ids, {len(vectors)} vectors" + (
            f", {len(metadata)} metadata" if metadata else ""
        )
        raise GalleryError(f"numbers of items don't match: {counts}", "Give one of each for every item.")
    if len(set(ids)) < len(ids):
        twice = next(name for index, name in enumerate(ids) if name in ids[:index])
        raise GalleryError(f"id {twice!r} occurs twice", "Every item needs its own id.")
    return unit_vectors(validate_vectors(vectors, width, "item")), metadata or [{}] * len(ids)


def validate_vectors(vectors: Tensor, width: int, noun: str) -> Float[Tensor, "n d"]:
    """The vectors as float32 on the CPU.

    Raises:
        GalleryError: another width, or a value that is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise GalleryError(
            f"vectors of shape {list(vectors.shape)} for a gallery of width {width}",
            "Embed with the model that the index was made with.",
        )
    whole = vectors.detach().float().cpu()
    bad = (~torch.isfinite(whole)).any(1).nonzero()
    if len(bad):
        raise GalleryError(f"{noun} {int(bad[0])} holds a value that is not finite", "Check its image.")
    return whole


def unit_vectors(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The vectors scaled to length 1 in float64; zero vectors stay zero, and so find nothing."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True, dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    return (vectors.double() / lengths.clamp(min=tiny)).float()


def top_k_columns(scores: Float[Tensor, "q c"], rows: Tensor, k: int) -> tuple[Float[Tensor, "q k"], Tensor]:
    """Scores and rows of the k best columns, best first; equal scores by ascending row."""
    order = np.lexsort((rows.numpy(), -scores.numpy()), axis=1)[:, :k]
    columns = torch.from_numpy(order)
    return scores.gather(1, columns), rows.gather(1, columns)
