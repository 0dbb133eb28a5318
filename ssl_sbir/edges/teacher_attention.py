"""A frozen classifier's features and class activation maps of photos, in one pass."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders.embed import embed_rows_at_native_size, encoder_sha256
from ssl_sbir.encoders.encoder import Encoder


@dataclass(frozen=True)
class ClassActivationMaps:
    """Class activation maps of the photos of a run (B. Zhou et al., CVPR 2016).

    Attributes:
        maps: 0..1 for each photo, [photos, rows, columns]: evidence for the predicted classes, weighted by their
            probabilities.
        photo_index: [rows of the manifest] → index of the photo, -1 for other rows.
        key: hash of the classifier.
    """

    maps: Float[Tensor, "photos rows columns"]
    photo_index: Int[Tensor, " manifest"]
    key: str

    def sample_attention_mask(self, row: Int[Tensor, " b"], side: int) -> Float[Tensor, "b 1 side side"]:
        """1 where a photo's map reaches a threshold, else 0; the threshold of each photo is random, from .1 to .5."""
        maps = self.maps[self.photo_index[row.cpu()]][:, None]
        maps = F.interpolate(maps, size=side, mode="bilinear", align_corners=False)
        return (maps >= 0.1 + 0.4 * torch.rand(len(maps), 1, 1, 1)).float()


def features_and_cams(
    teacher: Encoder, classifier: nn.Linear, data: TrainingSet, *, device: str = "cpu"
) -> tuple[Float[Tensor, "photos width"], ClassActivationMaps]:
    """A frozen teacher's features and class activation maps of a run's photos, at the teacher's own image size.

    Args:
        teacher: an encoder whose features the classifier takes.
        classifier: features → classes.
        data: the run's images.
        device: where to compute.
    """
    encoder = _FeatureAndCamEncoder(teacher, classifier).to(device)
    both = embed_rows_at_native_size(encoder, data.manifest, data.rows[Domain.PHOTO], device=device)
    features, maps = both.split([teacher.width, encoder.side**2], 1)
    maps = maps.unflatten(1, (encoder.side, encoder.side))
    return features, ClassActivationMaps(maps, data.index_by_row(Domain.PHOTO), encoder_sha256(encoder))


class _FeatureAndCamEncoder(Encoder):
    """A teacher's feature followed by its class activation map, row by row."""

    def __init__(self, teacher: Encoder, classifier: nn.Linear) -> None:
        with torch.no_grad():
            side, photo = teacher.preprocess.size, torch.ones(1, dtype=torch.int64)
            ramp = torch.linspace(0, 1, 3 * side**2).view(1, 3, side, side).to(teacher.mean.device)
            feature_map = teacher.eval().feature_map(ramp, photo.to(ramp.device))
            is_average = feature_map.mean((2, 3)).allclose(
                teacher(ramp, photo.to(ramp.device)), rtol=1e-3, atol=1e-4
            )
        super().__init__(teacher.spec, teacher.preprocess, teacher.width + feature_map.shape[-1] ** 2)
        self.side, self.teacher, self.head = feature_map.shape[-1], teacher, classifier
        self.feature_is_average = is_average  # a ViT's feature is its class token instead

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        return self.teacher.feature_map(image, domain)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        features_2d = self.feature_map(image, domain)
        feature = features_2d.mean((2, 3)) if self.feature_is_average else self.teacher(image, domain)
        class_weights = self.head(feature).softmax(1) @ self.head.weight
        cam = torch.einsum("bchw,bc->bhw", features_2d, class_weights).flatten(1)
        low, high = cam.amin(1, keepdim=True), cam.amax(1, keepdim=True)
        return torch.cat([feature, (cam - low) / (high - low).clamp(min=1e-6)], 1)
