"""Where a frozen classifier looks in a photo, and what it says of it, in one pass."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder
from ssl_sbir.encoders.embed import embed_rows_at_native_size, encoder_sha256


@dataclass(frozen=True)
class ClassActivationMaps:
    """Class activation maps of the photos of a run (B. Zhou et al., CVPR 2016).

    Attributes:
        maps: 0..1 for each photo, [photos, rows, columns]: what speaks for the classes that the classifier answers,
            each in proportion to its probability.
        photo_index: [rows of the manifest] → photo, -1 where there is none.
        key: hash of the classifier.
    """

    maps: Float[Tensor, "photos rows columns"]
    photo_index: Int[Tensor, " manifest"]
    key: str

    def sample_attention_mask(self, row: Int[Tensor, " b"], side: int) -> Float[Tensor, "b 1 side side"]:
        """1 where a photo is looked at, 0 elsewhere; the bound is drawn anew for each photo, from .1 to .5."""
        maps = self.maps[self.photo_index[row.cpu()]][:, None]
        maps = F.interpolate(maps, size=side, mode="bilinear", align_corners=False)
        return (maps >= 0.1 + 0.4 * torch.rand(len(maps), 1, 1, 1)).float()


def features_and_cams(
    teacher: Encoder, classifier: nn.Linear, data: TrainingSet, *, device: str = "cpu"
) -> tuple[Float[Tensor, "photos width"], ClassActivationMaps]:
    """A frozen teacher's features of a run's photos at its own image size, and where its answers come from.

    Args:
        teacher: has a map; its feature is what the classifier takes.
        classifier: features → classes.
        data: whose photos.
        device: where to compute.
    """
    looking = _FeatureAndCamEncoder(teacher, classifier).to(device)
    found = embed_rows_at_native_size(looking, data.manifest, data.rows[Domain.PHOTO], device=device)
    features, maps = found.split([teacher.width, looking.side**2], 1)
    maps = maps.unflatten(1, (looking.side, looking.side))
    return features, ClassActivationMaps(maps, data.index_by_row(Domain.PHOTO), encoder_sha256(looking))


class _FeatureAndCamEncoder(Encoder):
    """A teacher's feature and, after it, its class activation map, row by row."""

    def __init__(self, teacher: Encoder, classifier: nn.Linear) -> None:
        with torch.no_grad():
            side, photo = teacher.preprocess.size, torch.ones(1, dtype=torch.int64)
            ramp = torch.linspace(0, 1, 3 * side**2).view(1, 3, side, side).to(teacher.mean.device)
            places = teacher.eval().feature_map(ramp, photo.to(ramp.device))
            averages = places.mean((2, 3)).allclose(
                teacher(ramp, photo.to(ramp.device)), rtol=1e-3, atol=1e-4
            )
        super().__init__(teacher.spec, teacher.preprocess, teacher.width + places.shape[-1] ** 2)
        self.side, self.teacher, self.head = places.shape[-1], teacher, classifier
        self.feature_is_average = averages  # a ViT's feature is its class token instead

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        return self.teacher.feature_map(image, domain)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        places = self.feature_map(image, domain)
        feature = places.mean((2, 3)) if self.feature_is_average else self.teacher(image, domain)
        answer = self.head(feature).softmax(1) @ self.head.weight
        active = torch.einsum("bchw,bc->bhw", places, answer).flatten(1)
        low, high = active.amin(1, keepdim=True), active.amax(1, keepdim=True)
        return torch.cat([feature, (active - low) / (high - low).clamp(min=1e-6)], 1)
