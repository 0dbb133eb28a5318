"""Additions to an encoder in Doodle2Search and the first prototype: spatial attention, and a photo's edges."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder

ATTENTION_CHANNELS = 380


class SpatialAttentionEncoder(Encoder):
    """An encoder with spatial attention on its map: x + x · softmax(conv(conv(x))).

    Source: Dey et al., Doodle to Search, CVPR 2019; two 1×1 convolutions with 380 channels between them, as in its
    released code. The feature is the mean of that map.

    Args:
        encoder: maps [b, width, rows, columns].
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__({"kind": "attended", "encoder": encoder.spec}, encoder.preprocess, encoder.width)
        self.encoder = encoder
        hidden, score = nn.Conv2d(encoder.width, ATTENTION_CHANNELS, 1), nn.Conv2d(ATTENTION_CHANNELS, 1, 1)
        nn.init.zeros_(score.weight)  # uniform attention at the start
        self.attention = nn.Sequential(hidden, score)

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The encoder's map times 1 + attention, [b, width, rows, columns]."""
        inner = self.encoder.feature_map(image, domain)
        weight = self.attention(inner)
        return inner + inner * weight.flatten(1).softmax(1).view_as(weight)


class EdgeAugmentedEncoder(Encoder):
    """An encoder that averages the features of each photo and of its edges; sketches are encoded as they are.

    Args:
        encoder: of photos, their edges and sketches.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__({"kind": "edged", "encoder": encoder.spec}, encoder.preprocess, encoder.width)
        self.encoder = encoder

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The encoder's map, averaged with that of the edges for photos, [b, width, rows, columns]."""
        return _average_photos_with_edges(
            self.encoder.feature_map(*_append_photo_edges(image, domain)), domain
        )

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """The encoder's features, averaged with those of the edges for photos, [b, width]."""
        return _average_photos_with_edges(self.encoder(*_append_photo_edges(image, domain)), domain)


def _append_photo_edges(image: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    from ssl_sbir.augment.kornia_views import pseudo_sketch  # kornia takes a second to import

    photo = domain == Domain.PHOTO
    if not photo.any():
        return image, domain
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        edges = pseudo_sketch(image[photo].float(), "sobel").to(image)
    return torch.cat([image, edges]), torch.cat([domain, domain[photo]])


def _average_photos_with_edges(encoded: Tensor, domain: Tensor) -> Tensor:
    """What was encoded of each image; the photos' edges come after all images in `encoded`."""
    plain, edges = encoded[: len(domain)], encoded[len(domain) :]
    photo = (domain == Domain.PHOTO).nonzero()[:, 0]
    return plain.index_add(0, photo, (edges - plain[photo]) / 2)
