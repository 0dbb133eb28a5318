"""One network with a linear head for each domain, cheap to train on precomputed features."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder


class DomainHeadsEncoder(Encoder):
    """An encoder with a linear head for sketches and another for photos.

    Args:
        encoder: features [b, inner width].
        width: of the heads' output.
    """

    def __init__(self, encoder: Encoder, width: int) -> None:
        spec = {"kind": "headed", "encoder": encoder.spec, "width": width}
        super().__init__(spec, encoder.preprocess, width)
        self.encoder = encoder
        self.weight = nn.Parameter(torch.randn(len(Domain), width, encoder.width) / encoder.width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(Domain), width))

    @torch.no_grad()
    def init_principal_axes(self, features: Float[Tensor, "n inner"], domain: Int[Tensor, " n"]) -> None:
        """Sets both heads to the principal axes of some features, minus each domain's mean.

        Features of drawings and photos form two separate clusters, whatever they show; subtracting the means removes
        that difference. With as many axes as features have numbers, cosines stay those of the centred features.
        """
        axes, means = principal_axes(features, domain)
        axes = axes[: self.bias.shape[1]]
        self.weight.zero_()[:, : len(axes)] = axes.to(self.weight)
        self.bias.copy_(-(self.weight @ means.to(self.weight)[:, :, None])[:, :, 0])

    def apply_heads(
        self, features: Float[Tensor, "b inner"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width"]:
        """The heads applied to features of the inner encoder, each to those of its domain."""
        out = features.new_empty(len(features), self.width)
        for d in Domain:
            own = domain == d
            out[own] = torch.addmm(self.bias[d], features[own], self.weight[d].T).to(out)
        return out

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Each image's head at each position of its map, [b, width, rows, columns]."""
        inner = self.encoder.feature_map(image, domain)
        flat = inner.permute(0, 2, 3, 1).flatten(0, 2)
        positions = inner.shape[2] * inner.shape[3]
        out = self.apply_heads(flat, domain.repeat_interleave(positions))
        return out.view(len(image), *inner.shape[2:], self.width).permute(0, 3, 1, 2)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Each image's head on its features, [b, width]."""
        return self.apply_heads(self.encoder(image, domain), domain)


def principal_axes(
    features: Float[Tensor, "n width"], domain: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "axes width"], Float[Tensor, "2 width"]]:
    """The principal axes of features minus their domain's mean, by falling variance, and the means.

    Returns:
        (unit vectors, min(n, width) of them; the mean of each domain, 0 for one without images).
    """
    means = torch.stack([_mean_or_zeros(features[domain == d]) for d in Domain])
    _, _, axes = torch.linalg.svd(features - means[domain], full_matrices=False)
    return axes, means


def _mean_or_zeros(features: Float[Tensor, "n inner"]) -> Float[Tensor, " inner"]:
    return features.mean(0) if len(features) else features.new_zeros(features.shape[1])
