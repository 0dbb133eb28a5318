"""Encoders made of encoders: a linear head, each domain centred, and one tower for each domain."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.encoders.by_domain import apply_by_domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import EncoderError


class ProjectedEncoder(Encoder):
    """An encoder with a linear head, also at each place of its map, so that the map's mean stays the feature.

    Args:
        encoder: gives features [b, width].
        linear: width → dimensions; its bias may be missing.

    Raises:
        EncoderError: the head doesn't take what the encoder gives.
    """

    def __init__(self, encoder: Encoder, linear: nn.Linear) -> None:
        if linear.in_features != encoder.width:
            raise EncoderError(
                f"a head of {linear.in_features} inputs on an encoder of width {encoder.width}",
                f"Make the head with nn.Linear({encoder.width}, …).",
            )
        spec = {
            "kind": "projected",
            "encoder": encoder.spec,
            "width": linear.out_features,
            "bias": linear.bias is not None,
        }
        super().__init__(spec, encoder.preprocess, linear.out_features)
        self.encoder = encoder
        self.linear = linear

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The head at each place of the encoder's map, [b, width, rows, columns]."""
        inner = self.encoder.feature_map(image, domain)
        return F.conv2d(inner, self.linear.weight[:, :, None, None], self.linear.bias)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """The head on the encoder's features, [b, width]."""
        return self.linear(self.encoder(image, domain))


class DomainCentredEncoder(Encoder):
    """An encoder whose features lie about a common origin: each domain's mean is taken off.

    Drawings and photos lie apart as two clouds, whatever they show; without their means the rest is compared.
    The means are watched while training (`update_domain_means`), so that no image of the search decides them. A domain that was
    never watched has the other one's mean: with one cloud moved alone they would lie further apart than before.

    Args:
        encoder: gives features [b, width].
        momentum: how much a batch moves the means.
    """

    domain_means: Tensor
    watched: Tensor

    def __init__(self, encoder: Encoder, momentum: float = 0.05) -> None:
        spec = {"kind": "centred", "encoder": encoder.spec, "momentum": momentum}
        super().__init__(spec, encoder.preprocess, encoder.width)
        self.encoder, self.momentum = encoder, momentum
        self.register_buffer("domain_means", torch.zeros(2, encoder.width))
        self.register_buffer("watched", torch.zeros(2, dtype=torch.bool))

    @torch.no_grad()
    def update_domain_means(self, features: Float[Tensor, "b width"], domain: Int[Tensor, " b"]) -> None:
        """Moves the means towards those of some of the inner encoder's features."""
        for of in range(2):
            if (domain == of).any():
                mean = features[domain == of].float().mean(0)
                weight = self.momentum if self.watched[of] else 1.0
                self.domain_means[of].lerp_(mean, weight)
                self.watched[of] = True
        if self.watched.any():
            self.domain_means[~self.watched] = self.domain_means[self.watched][:1]

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The inner map less the mean of each image's domain, [b, width, rows, columns]."""
        return self.encoder.feature_map(image, domain) - self.domain_means[domain][:, :, None, None]

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """The inner features less the mean of each image's domain, [b, width]."""
        return self.encoder(image, domain) - self.domain_means[domain]


class TwoTowerEncoder(Encoder):
    """Two encoders, one for sketches and one for photos, as one; no weight is shared.

    Raises:
        EncoderError: the towers differ in width or image size.
    """

    def __init__(self, sketch: Encoder, photo: Encoder) -> None:
        for what, left, right in (
            ("width", sketch.width, photo.width),
            ("image size", sketch.preprocess.size, photo.preprocess.size),
        ):
            if left != right:
                raise EncoderError(
                    f"two towers of different {what}: {left} (sketch) and {right} (photo)",
                    "Give both the same, for example with a linear head (Projected).",
                )
        spec = {"kind": "towers", "sketch": sketch.spec, "photo": photo.spec}
        super().__init__(spec, photo.preprocess, photo.width)
        self.sketch, self.photo = sketch, photo

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Each image's map from the tower of its domain, [b, width, rows, columns], in the given order."""
        return apply_by_domain(image, domain, self.sketch.feature_map, self.photo.feature_map)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Each image's features from the tower of its domain, [b, width], in the given order."""
        return apply_by_domain(image, domain, self.sketch, self.photo)


def has_towers(encoder: Encoder) -> bool:
    """Whether sketches and photos pass through networks of their own, whatever lies on them."""
    return any(isinstance(part, TwoTowerEncoder) for part in encoder.modules())


def to_two_towers(encoder: Encoder) -> Encoder:
    """An encoder with a tower for each domain, both starting as it is; one that has towers stays as it is.

    A code and means that lie on it stay, one for both towers.
    """
    if has_towers(encoder):
        return encoder
    if isinstance(encoder, ProjectedEncoder):
        return ProjectedEncoder(to_two_towers(encoder.encoder), encoder.linear)
    if isinstance(encoder, DomainCentredEncoder):
        found = DomainCentredEncoder(to_two_towers(encoder.encoder), encoder.momentum)
        found.domain_means.copy_(encoder.domain_means)
        found.watched.copy_(encoder.watched)
        return found
    return TwoTowerEncoder(copy.deepcopy(encoder), encoder)
