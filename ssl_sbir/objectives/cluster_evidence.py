"""Evidence of which cluster of photos each sketch belongs to: from a frozen network, or the trained encoder."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.encoders import Encoder
from ssl_sbir.encoders.embed import cached_features, embed_rows_at_native_size, encoder_sha256
from ssl_sbir.files import sha256_of
from ssl_sbir.objectives.self_labeling import center_features, cosine_to_centers


@dataclass(frozen=True)
class ClusterEvidence:
    """How similar each sketch is to each cluster of photos, by one network.

    Attributes:
        scores: similarity of each sketch to each cluster, -2..2.
        sketch_features: the network's features of the sketches, centred, unit length.
    """

    scores: Float[Tensor, "sketches clusters"]
    sketch_features: Float[Tensor, "sketches width"]

    @classmethod
    def from_teacher(
        cls,
        teacher: Encoder,
        photos: Float[Tensor, "photos width"],
        photo_class: Int[Tensor, " photos"],
        clusters: int,
        data: TrainingSet,
        pseudo_sketcher: PseudoSketcher,
        *,
        device: str = "cpu",
    ) -> "ClusterEvidence":
        """The evidence of a frozen network: each sketch against the photos of each cluster and their pseudo-sketches.

        Half of the score is from the photos, half from their pseudo-sketches: of whole photos and, where class
        activation maps are known, of the activated parts only.

        Args:
            teacher: the frozen network, applied at its own image size.
            photos: its features of the photos.
            photo_class: clusters of the photos.
            clusters: number of clusters.
            data: the sketches and photos.
            pseudo_sketcher: draws the photos.
            device: where to compute.
        """
        sketches = embed_rows_at_native_size(teacher, data.manifest, data.rows[Domain.SKETCH], device=device)
        styles = [pseudo_sketcher.with_sketch_style(None, 0.0, 0.0)]
        if pseudo_sketcher.activation_maps is not None:
            styles.append(pseudo_sketcher.with_sketch_style(pseudo_sketcher.activation_maps, 1.0, 1.0))
        drawings = [_embed_drawings(teacher, style, data, device) for style in styles]
        scores = [cosine_to_centers(sketches, of, photo_class, clusters) for of in (photos, *drawings)]
        return cls(scores[0] + torch.stack(scores[1:]).mean(0), center_features(sketches))

    @classmethod
    def from_embeddings(
        cls,
        photos: Float[Tensor, "photos width"],
        sketches: Float[Tensor, "sketches width"],
        photo_class: Int[Tensor, " photos"],
        clusters: int,
    ) -> "ClusterEvidence":
        """The evidence of the trained encoder; an image whose embedding is 0 wasn't embedded yet and has none.

        Args:
            photos: latest embeddings of the photos.
            sketches: latest embeddings of the sketches.
            photo_class: clusters of the photos.
            clusters: number of clusters.
        """
        known_photo, known_sketch = photos.any(1), sketches.any(1, keepdim=True)
        cosine = cosine_to_centers(sketches, photos[known_photo], photo_class[known_photo], clusters)
        return cls(2 * cosine * known_sketch, center_features(sketches) * known_sketch)


def _embed_drawings(
    teacher: Encoder, pseudo_sketcher: PseudoSketcher, data: TrainingSet, device: str
) -> Float[Tensor, "photos width"]:
    rows, side = data.rows[Domain.PHOTO], teacher.preprocess.size
    device_kind = torch.device(device).type  # each has its own random numbers
    key = sha256_of(
        "drawings",
        encoder_sha256(teacher),
        pseudo_sketcher.cache_key(data),
        f"{side} {device_kind}",
        rows.tobytes(),
    )
    return cached_features(
        key,
        teacher,
        pseudo_sketcher.render_photos(data, side, 0, device),
        torch.full((len(rows),), int(Domain.SKETCH)).numpy(),
        device=device,
        progress_label="drawings of the photos",
    )
