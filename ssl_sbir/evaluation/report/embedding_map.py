"""A 2-D map of some sketches and photos, by principal components and by t-SNE."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures

MAP_POINTS = 600
TSNE_INPUT_COMPONENTS = 32  # principal components that t-SNE starts from


@dataclass(frozen=True)
class EmbeddingMap:
    """2-D coordinates of some images.

    Attributes:
        queries: indices of the sketches.
        gallery: indices of the photos.
        coordinates: by method [m, 2], sketches first, 0..1.
    """

    queries: npt.NDArray[np.int64]
    gallery: npt.NDArray[np.int64]
    coordinates: dict[str, npt.NDArray[np.float64]]


def embedding_map(features: RetrievalFeatures, points: int = MAP_POINTS, seed: int = 0) -> EmbeddingMap:
    """A map of up to `points` images, half of them sketches, evenly spread over the classes."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    queries = _sample_evenly_by_label(features.query_labels.cpu().numpy(), points // 2)
    gallery = _sample_evenly_by_label(features.gallery_labels.cpu().numpy(), points // 2)
    chosen = torch.cat([features.query[queries], features.gallery[gallery]]).cpu().float()
    units = F.normalize(chosen, dim=1).numpy()
    components = PCA(min(TSNE_INPUT_COMPONENTS, *units.shape), random_state=seed).fit_transform(units)
    coordinates = {"principal components": components[:, :2]}
    if len(units) > 20:
        perplexity = min(30.0, len(units) / 4)
        t_sne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(components)
        coordinates = {"t-SNE": t_sne, **coordinates}
    scaled = {name: _scale_to_unit_square(points_2d) for name, points_2d in coordinates.items()}
    return EmbeddingMap(queries, gallery, scaled)


def _sample_evenly_by_label(labels: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Indices of up to `most` entries, evenly spaced in the order of their labels."""
    order = np.argsort(labels, kind="stable")
    return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).astype(np.int64))]


def _scale_to_unit_square(coordinates: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    padded = np.pad(coordinates, ((0, 0), (0, max(0, 2 - coordinates.shape[1])))).astype(np.float64)
    low, high = padded.min(0), padded.max(0)
    return (padded - low) / np.where(high > low, high - low, 1)
