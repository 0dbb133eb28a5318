"""What a frozen network already knows of which cluster of photos each sketch belongs to."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.edges.drawings import Drawings
from ssl_sbir.encoders import Encoder
from ssl_sbir.files import sha256_of
from ssl_sbir.objectives.selflabelling import centred, nearness
from ssl_sbir.retrieval.embeddings import embed_at_own_size, kept, weights_sha256


@dataclass(frozen=True)
class Evidence:
    """Before any training.

    Attributes:
        scores: of each sketch for each cluster, -2..2.
        sketches: the network's features of the sketches, centred, unit length.
    """

    scores: Float[Tensor, "sketches clusters"]
    sketches: Float[Tensor, "sketches width"]

    @classmethod
    def of(
        cls,
        teacher: Encoder,
        photos: Float[Tensor, "photos width"],
        photo_class: Int[Tensor, " photos"],
        clusters: int,
        data: TrainingSet,
        drawings: Drawings,
        *,
        device: str = "cpu",
    ) -> "Evidence":
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
        sketches = embed_at_own_size(teacher, data.manifest, data.rows[Domain.SKETCH], device=device)
        ways = [drawings.like_sketches(None, 0.0, 0.0)]
        if drawings.attention is not None:
            ways.append(drawings.like_sketches(drawings.attention, 1.0, 1.0))
        drawn = [_embedded(teacher, way, data, device) for way in ways]
        scores = [nearness(sketches, of, photo_class, clusters) for of in (photos, *drawn)]
        return cls(scores[0] + torch.stack(scores[1:]).mean(0), centred(sketches))


def _embedded(
    teacher: Encoder, drawings: Drawings, data: TrainingSet, device: str
) -> Float[Tensor, "photos width"]:
    rows, side = data.rows[Domain.PHOTO], teacher.preprocess.size
    kind = torch.device(device).type  # each draws lots of its own
    key = sha256_of("drawings", weights_sha256(teacher), drawings.key(data), f"{side} {kind}", rows.tobytes())
    domain = torch.full((len(rows),), int(Domain.SKETCH)).numpy()
    what = "drawings of the photos"
    return kept(key, teacher, drawings.pages(data, side, 0, device), domain, device=device, what=what)
