"""The photos that a drawing is compared with, and their scores."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.batches import Pack, prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.encoded_images import Centres
from ssl_sbir.explain.pair.explanation import GalleryScores


@dataclass(frozen=True)
class PhotoGallery:
    """Embedded photos of a manifest.

    Attributes:
        rows: [n], rows of the manifest.
        embeddings: [n, d], minus the photos' centre, if any.
        broken: number of photos left out because they can't be read.
    """

    manifest: Manifest
    pack: Pack
    rows: npt.NDArray[np.int64]
    embeddings: Float[Tensor, "n d"]
    broken: int

    def score_photos(self, query: Float[Tensor, " d"]) -> Float[Tensor, " n"]:
        """The cosine of the query with each photo, −1..1; 0 if either vector is zero."""
        return cosine_to_photos(query.to(self.embeddings), self.embeddings)

    def load_images(self, indices: npt.NDArray[np.int64]) -> Float[Tensor, "k 3 s s"]:
        """Photos as the encoder sees them, in 0..1; `indices` into the gallery."""
        return self.pack.read_images(self.rows[indices]).float() / 255


def cosine_to_photos(query: Float[Tensor, " d"], photos: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The cosine of a vector with each photo's, without copying the photos'; 0 if either is zero."""
    length = torch.linalg.vector_norm(photos, dim=1) * torch.linalg.vector_norm(query)
    return photos @ query / length.clamp(min=1e-8)


def build_photo_gallery(
    encoder: Encoder,
    manifest: Manifest,
    classes: Collection[str] | None,
    *,
    centres: Centres | None = None,
    device: str = "cpu",
    batch_size: int = 64,
) -> PhotoGallery:
    """The photos of some classes (None: all photos), with embeddings computed or read from the cache.

    Raises:
        ExplainError: there is no such photo, or none can be read.
    """
    rows = manifest.find_rows(Domain.PHOTO, classes)
    if not len(rows):
        what = "no photos" if classes is None else "no photos of the unseen classes"
        raise ExplainError(f"{manifest.name} holds {what}", "Try --gallery all, or other data.")
    pack = prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)
    readable = rows[pack.ok[rows]]
    if not len(readable):
        raise ExplainError(f"{manifest.name}: none of {len(rows)} photos can be read", "ssl-sbir data verify")
    embeddings = embed_rows(encoder, pack, manifest, readable, batch_size=batch_size, device=device)
    if centres and Domain.PHOTO in centres:
        embeddings = embeddings - centres[Domain.PHOTO].to(embeddings)
    return PhotoGallery(manifest, pack, readable, embeddings, len(rows) - len(readable))


def summarize_scores(scores: Float[Tensor, " n"]) -> GalleryScores:
    """The number of scores, and the lowest, mean and highest."""
    return GalleryScores(len(scores), scores.min().item(), scores.mean().item(), scores.max().item())


def best_indices(scores: Float[Tensor, " n"], count: int) -> npt.NDArray[np.int64]:
    """Indices of the highest scores, best first; ties keep the gallery's order."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[:count].cpu().numpy()
