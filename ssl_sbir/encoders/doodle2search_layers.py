"""What Doodle2Search and the first prototype add to an encoder: spatial attention, and a look at a photo's edges."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.augment.kornia_views import pseudo_sketch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder

ATTENTION_CHANNELS = 380


class SpatialAttentionEncoder(Encoder):
    """An encoder whose map is weighted by where it is worth looking: x + x · softmax(conv(conv(x))).

    Source: Dey et al., Doodle to Search, CVPR 2019; two 1×1 convolutions with 380 channels between, as in its
    released code. The feature is the mean of that map.

    Args:
        encoder: gives maps [b, width, rows, columns].
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__({"kind": "attended", "encoder": encoder.spec}, encoder.preprocess, encoder.width)
        self.encoder = encoder
        hidden, look = nn.Conv2d(encoder.width, ATTENTION_CHANNELS, 1), nn.Conv2d(ATTENTION_CHANNELS, 1, 1)
        nn.init.zeros_(look.weight)  # every place counts alike at the start
        self.attention = nn.Sequential(hidden, look)

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The encoder's map, what is attended to counting up to twice, [b, width, rows, columns]."""
        inner = self.encoder.feature_map(image, domain)
        weight = self.attention(inner)
        return inner + inner * weight.flatten(1).softmax(1).view_as(weight)


class EdgeAugmentedEncoder(Encoder):
    """An encoder that sees each photo twice, as it is and as the drawing that its edges make, and takes the mean.

    Args:
        encoder: sees photos, their edges and sketches.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__({"kind": "edged", "encoder": encoder.spec}, encoder.preprocess, encoder.width)
        self.encoder = encoder

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The encoder's map, of photos the mean of both, [b, width, rows, columns]."""
        return _average_photos_with_edges(
            self.encoder.feature_map(*_append_photo_edges(image, domain)), domain
        )

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """The encoder's features, of photos the mean of both, [b, width]."""
        return _average_photos_with_edges(self.encoder(*_append_photo_edges(image, domain)), domain)


def _append_photo_edges(image: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    photo = domain == Domain.PHOTO
    if not photo.any():
        return image, domain
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        edges = pseudo_sketch(image[photo].float(), "sobel").to(image)
    return torch.cat([image, edges]), torch.cat([domain, domain[photo]])


def _average_photos_with_edges(seen: Tensor, domain: Tensor) -> Tensor:
    """What was seen of each image, where the photos' edges come after all images."""
    plain, edges = seen[: len(domain)], seen[len(domain) :]
    photo = (domain == Domain.PHOTO).nonzero()[:, 0]
    return plain.index_add(0, photo, (edges - plain[photo]) / 2)
