"""The photos that a drawing is compared with, and how each of them scores."""

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
    """Some photos of a manifest, embedded.

    Attributes:
        rows: [n] rows of the manifest.
        embeddings: [n, d], less the photos' centre if one is given.
        broken: how many photos can't be read and are left out.
    """

    manifest: Manifest
    pack: Pack
    rows: npt.NDArray[np.int64]
    embeddings: Float[Tensor, "n d"]
    broken: int

    def score_photos(self, query: Float[Tensor, " d"]) -> Float[Tensor, " n"]:
        """The cosine of the query with each photo; 0 where either vector is zero."""
        return cosine_to_photos(query.to(self.embeddings), self.embeddings)

    def load_images(self, indices: npt.NDArray[np.int64]) -> Float[Tensor, "k 3 s s"]:
        """Photos as the encoder sees them, in 0..1."""
        return self.pack.read_images(self.rows[indices]).float() / 255


def cosine_to_photos(query: Float[Tensor, " d"], photos: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The cosine of a vector with each of many, of which no copy is made; 0 where either is zero."""
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
    """The photos of some classes (None: all photos), embedded or taken from the cache.

    Raises:
        ExplainError: there is no such photo, or none that can be read.
    """
    rows = manifest.find_rows(Domain.PHOTO, classes)
    if not len(rows):
        what = "no photos" if classes is None else "no photos of the unseen classes"
        raise ExplainError(f"{manifest.name} holds {what}", "Try --gallery all, or other data.")
    pack = prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)
    whole = rows[pack.ok[rows]]
    if not len(whole):
        raise ExplainError(f"{manifest.name}: none of {len(rows)} photos can be read", "ssl-sbir data verify")
    embeddings = embed_rows(encoder, pack, manifest, whole, batch_size=batch_size, device=device)
    if centres and Domain.PHOTO in centres:
        embeddings = embeddings - centres[Domain.PHOTO].to(embeddings)
    return PhotoGallery(manifest, pack, whole, embeddings, len(rows) - len(whole))


def summarize_scores(scores: Float[Tensor, " n"]) -> GalleryScores:
    """Count, lowest, mean and highest score."""
    return GalleryScores(len(scores), scores.min().item(), scores.mean().item(), scores.max().item())


def best_indices(scores: Float[Tensor, " n"], count: int) -> npt.NDArray[np.int64]:
    """Places of the highest scores, best first; equal scores keep the gallery's order."""
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[:count].cpu().numpy()
