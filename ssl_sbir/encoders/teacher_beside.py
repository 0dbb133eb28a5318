"""A trained code with a frozen teacher's beside it: drawings are compared by the first, texts by the second."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.errors import EncoderError


class TeacherBesideEncoder(Encoder):
    """Photos as [code; teacher's code], each of length 1, and drawings as [code; 0].

    The score of a drawing is the cosine of the codes times the same constant for every photo, so its ranking is that of
    the code alone. A text that is a direction of the teacher's part is compared with what the teacher, at its own image
    size and without having been trained on drawings, sees in a photo.

    Args:
        encoder: drawings and photos; a run's.
        teacher: photos; frozen.
        teacher_head: the teacher's features → its code.

    Raises:
        EncoderError: encoder and teacher prepare images in different ways, or the teacher takes smaller images.
    """

    def __init__(self, encoder: Encoder, teacher: Encoder, teacher_head: nn.Linear) -> None:
        ours, theirs = encoder.preprocess, teacher.preprocess
        if ours.fit != theirs.fit or ours.size > theirs.size:
            raise EncoderError(
                f"an encoder of {ours.size} px (fit {ours.fit}) beside a teacher of {theirs.size} px (fit {theirs.fit})",
                "Give the teacher the same fit and at least the same size.",
            )
        width = encoder.width + teacher_head.out_features
        preprocess = Preprocess(theirs.size, ours.mean, ours.std, ours.fit)
        spec = {
            "kind": "beside",
            "encoder": encoder.spec,
            "encoder_preprocess": ours.facts(),
            "teacher": teacher.spec,
            "teacher_preprocess": theirs.facts(),
            "teacher_width": teacher_head.out_features,
        }
        super().__init__(spec, preprocess, width)
        self.encoder, self.teacher, self.teacher_head = encoder, teacher, teacher_head

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width]: the code, of length 1, then the teacher's, of length 1 for photos and 0 for drawings."""
        code = F.normalize(self.encoder(self._resize(image), domain).float(), dim=1)
        return torch.cat([code, F.normalize(self._teacher_codes(image, domain), dim=1)], 1)

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Both maps on the grid of the first, scaled so that their mean is the feature, [b, width, rows, columns]."""
        code = self.encoder.feature_map(self._resize(image), domain).float()
        teacher = self._teacher_maps(image, domain, code.shape[2:])
        return torch.cat([_scale_to_unit_mean(code), _scale_to_unit_mean(teacher)], 1)

    def _resize(self, image: Tensor) -> Tensor:
        side = self.encoder.preprocess.size
        if image.shape[-1] == side:
            return image
        return F.interpolate(image, (side, side), mode="bilinear", antialias=True).clamp(0, 1)

    def _teacher_codes(self, image: Tensor, domain: Tensor) -> Tensor:
        photo = domain == Domain.PHOTO
        codes = image.new_zeros(len(image), self.teacher_head.out_features, dtype=torch.float32)
        if photo.any():
            codes[photo] = self.teacher_head(self.teacher(image[photo], domain[photo])).float()
        return codes

    def _teacher_maps(self, image: Tensor, domain: Tensor, grid: torch.Size) -> Tensor:
        """The teacher's codes at each position of a grid; what resizing changes of their mean is given back evenly."""
        photo = domain == Domain.PHOTO
        maps = image.new_zeros(len(image), self.teacher_head.out_features, *grid, dtype=torch.float32)
        if photo.any():
            own = self.teacher.feature_map(image[photo], domain[photo])
            own = F.conv2d(own, self.teacher_head.weight[:, :, None, None], self.teacher_head.bias).float()
            resized = F.interpolate(own, tuple(grid), mode="bilinear", antialias=True)
            lost = own.mean((2, 3), keepdim=True) - resized.mean((2, 3), keepdim=True)
            maps[photo] = resized + lost
        return maps


def _scale_to_unit_mean(feature_map: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """The map divided by the length of its mean; zero stays zero."""
    return feature_map / feature_map.mean((2, 3), keepdim=True).norm(dim=1, keepdim=True).clamp(min=1e-12)


def teacher_beside_from_parts(spec: dict[str, Any], encoder: Encoder, teacher: Encoder) -> Encoder:
    """The architecture described by a `beside` spec, of parts with random weights."""
    head = nn.Linear(teacher.width, spec["teacher_width"], bias=False)
    encoder.with_fit(spec["encoder_preprocess"]["fit"])
    teacher.with_fit(spec["teacher_preprocess"]["fit"])
    return TeacherBesideEncoder(encoder, teacher, head)
