"""What a frozen network already knows of which cluster of photos each sketch belongs to."""

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
class FrozenEvidence:
    """Before any training.

    Attributes:
        scores: of each sketch for each cluster, -2..2.
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
        drawings: PseudoSketcher,
        *,
        device: str = "cpu",
    ) -> "FrozenEvidence":
        """Compares each sketch with the photos of each cluster and with drawings of them.

        Half of the score is from the photos, half from their drawings: whole ones, and, where it is known what is
        looked at in a photo, drawings of that alone.

        Args:
            teacher: the frozen network, asked at its own image size.
            photos: its features of the photos.
            photo_class: their clusters.
            clusters: how many.
            data: the sketches.
            drawings: what draws the photos.
            device: where to compute.
        """
        sketches = embed_rows_at_native_size(teacher, data.manifest, data.rows[Domain.SKETCH], device=device)
        ways = [drawings.with_sketch_style(None, 0.0, 0.0)]
        if drawings.activation_maps is not None:
            ways.append(drawings.with_sketch_style(drawings.activation_maps, 1.0, 1.0))
        drawn = [_embed_drawings(teacher, way, data, device) for way in ways]
        scores = [cosine_to_centers(sketches, of, photo_class, clusters) for of in (photos, *drawn)]
        return cls(scores[0] + torch.stack(scores[1:]).mean(0), center_features(sketches))


def _embed_drawings(
    teacher: Encoder, drawings: PseudoSketcher, data: TrainingSet, device: str
) -> Float[Tensor, "photos width"]:
    rows, side = data.rows[Domain.PHOTO], teacher.preprocess.size
    kind = torch.device(device).type  # each draws lots of its own
    key = sha256_of(
        "drawings", encoder_sha256(teacher), drawings.cache_key(data), f"{side} {kind}", rows.tobytes()
    )
    domain = torch.full((len(rows),), int(Domain.SKETCH)).numpy()
    what = "drawings of the photos"
    return cached_features(
        key,
        teacher,
        drawings.render_photos(data, side, 0, device),
        domain,
        device=device,
        progress_label=what,
    )
