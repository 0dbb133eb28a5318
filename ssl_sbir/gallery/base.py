"""What every gallery is: named vectors that can be searched, whatever engine holds them."""

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
WRITE_WAIT_SECONDS = 600.0  # seconds for another process that writes


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An item that came back for a query.

    Attributes:
        id: its name in the gallery.
        score: product of the query and the item's unit vector; their cosine where the query is a unit vector.
        metadata: what was stored with it.
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
        """What was noted about it, such as whose embeddings it holds."""

    def __len__(self) -> int:
        """How many items there are."""

    def add(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata] | None = None
    ) -> None:
        """Adds items; one whose id is there already takes its place.

        Args:
            ids: any strings, each once.
            vectors: [n, d], of any length; a zero vector scores 0 everywhere.
            metadata: JSON-able, one an item.

        Raises:
            GalleryError: an id comes twice, a vector isn't finite or has another width, or the index can't
                be written.
        """

    def remove(self, ids: Collection[str]) -> int:
        """How many of these items were there and are now gone."""

    def search(self, vectors: Float[Tensor, "q d"], k: int) -> list[list[Neighbour]]:
        """The k nearest items of each query, best first; fewer where the gallery is smaller.

        Raises:
            GalleryError: the queries have another width or aren't finite, or the engine doesn't answer.
        """

    def get_vectors(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """The unit vectors of some items, in the given order.

        Raises:
            GalleryError: an item isn't there.
        """

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Id and metadata of every item."""

    def update_facts(self, **facts: Any) -> None:
        """Replaces some facts, JSON-able ones."""

    def write_transaction(self, wait: float = WRITE_WAIT_SECONDS) -> AbstractContextManager[None]:
        """Holds the index for several changes, which all take effect at the end.

        Args:
            wait: seconds to wait for another process that is writing.

        Raises:
            GalleryError: another process is still writing after that time.
        """

    def close(self) -> None:
        """Lets go of files and connections."""


def validate_items(
    ids: Sequence[str], vectors: Tensor, metadata: Sequence[Metadata] | None, width: int
) -> tuple[Float[Tensor, "n d"], Sequence[Metadata]]:
    """The items' unit vectors, float32 on the CPU, and their metadata.

    Raises:
        GalleryError: an id comes twice, or a vector can't be stored.
    """
    if len(ids) != len(vectors) or (metadata is not None and len(metadata) != len(ids)):
        counts = f"{len(ids)} ids, {len(vectors)} vectors" + (
            f", {len(metadata)} metadata" if metadata else ""
        )
        raise GalleryError(f"items that don't match: {counts}", "Give one of each for every item.")
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        raise GalleryError(f"id {twice!r} comes twice", "Every item needs an id of its own.")
    return unit_vectors(validate_vectors(vectors, width, "item")), metadata or [{}] * len(ids)


def validate_vectors(vectors: Tensor, width: int, noun: str) -> Float[Tensor, "n d"]:
    """The vectors as float32 on the CPU.

    Raises:
        GalleryError: another width, or a number that is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise GalleryError(
            f"vectors of shape {list(vectors.shape)} for a gallery of width {width}",
            "Embed with the model that the index was made with.",
        )
    whole = vectors.detach().float().cpu()
    bad = (~torch.isfinite(whole)).any(1).nonzero()
    if len(bad):
        raise GalleryError(f"{noun} {int(bad[0])} holds a number that is not finite", "Look at its image.")
    return whole


def unit_vectors(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The vectors at length 1; zero vectors stay zero."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True, dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    return (vectors.double() / lengths.clamp(min=tiny)).float()


def top_k_columns(scores: Float[Tensor, "q c"], rows: Tensor, k: int) -> tuple[Float[Tensor, "q k"], Tensor]:
    """The first k columns by falling score, equal scores by rising row."""
    order = np.lexsort((rows.numpy(), -scores.numpy()), axis=1)[:, :k]
    places = torch.from_numpy(order)
    return scores.gather(1, places), rows.gather(1, places)
