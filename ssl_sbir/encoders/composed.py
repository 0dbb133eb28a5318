"""Encoders built from encoders: a linear head, centred domains, and one tower for each domain."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.encoders.by_domain import apply_by_domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import EncoderError


class ProjectedEncoder(Encoder):
    """An encoder with a linear head, also at each position of its map, so that the map's mean stays the feature.

    Args:
        encoder: features [b, width].
        linear: width → dimensions; its bias may be missing.

    Raises:
        EncoderError: the head's input has another width than the encoder's features.
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
        """The head at each position of the encoder's map, [b, width, rows, columns]."""
        inner = self.encoder.feature_map(image, domain)
        return F.conv2d(inner, self.linear.weight[:, :, None, None], self.linear.bias)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """The head on the encoder's features, [b, width]."""
        return self.linear(self.encoder(image, domain))


class DomainCentredEncoder(Encoder):
    """An encoder whose features are centred: each domain's mean is subtracted.

    Features of drawings and photos form two separate clusters, whatever they show; subtracting the means removes that
    difference. The means are updated while training (`update_domain_means`) and fixed afterwards, so that they don't
    depend on the images of a search. A domain without updates has the other one's mean: moving one cluster alone would
    separate the two further.

    Args:
        encoder: features [b, width].
        momentum: weight of a batch in the means.
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
        """Moves the means towards those of a batch of the inner encoder's features."""
        for d in range(2):
            if (domain == d).any():
                mean = features[domain == d].float().mean(0)
                weight = self.momentum if self.watched[d] else 1.0
                self.domain_means[d].lerp_(mean, weight)
                self.watched[d] = True
        if self.watched.any():
            self.domain_means[~self.watched] = self.domain_means[self.watched][:1]

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The inner map minus the mean of each image's domain, [b, width, rows, columns]."""
        return self.encoder.feature_map(image, domain) - self.domain_means[domain][:, :, None, None]

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """The inner features minus the mean of each image's domain, [b, width]."""
        return self.encoder(image, domain) - self.domain_means[domain]


class TwoTowerEncoder(Encoder):
    """Two encoders, one for sketches and one for photos, without shared weights.

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
                    "Give both the same, for example with a linear head (ProjectedEncoder).",
                )
        spec = {"kind": "towers", "sketch": sketch.spec, "photo": photo.spec}
        super().__init__(spec, photo.preprocess, photo.width)
        self.sketch, self.photo = sketch, photo

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Each image's map from the tower of its domain, [b, width, rows, columns], in the batch's order."""
        return apply_by_domain(image, domain, self.sketch.feature_map, self.photo.feature_map)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Each image's features from the tower of its domain, [b, width], in the batch's order."""
        return apply_by_domain(image, domain, self.sketch, self.photo)


def has_towers(encoder: Encoder) -> bool:
    """Whether sketches and photos pass through separate networks, at any depth of the encoder."""
    return any(isinstance(part, TwoTowerEncoder) for part in encoder.modules())


def to_two_towers(encoder: Encoder) -> Encoder:
    """An encoder with a tower for each domain, both starting from the given one; with towers already, it is unchanged.

    A linear head and domain means around it are kept, shared by both towers.
    """
    if has_towers(encoder):
        return encoder
    if isinstance(encoder, ProjectedEncoder):
        return ProjectedEncoder(to_two_towers(encoder.encoder), encoder.linear)
    if isinstance(encoder, DomainCentredEncoder):
        centred = DomainCentredEncoder(to_two_towers(encoder.encoder), encoder.momentum)
        centred.domain_means.copy_(encoder.domain_means)
        centred.watched.copy_(encoder.watched)
        return centred
    return TwoTowerEncoder(copy.deepcopy(encoder), encoder)
