"""One encoder with separate normalisation statistics for drawings, which are mostly paper, and photos."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from ssl_sbir.encoders.by_domain import apply_by_domain
from ssl_sbir.encoders.encoder import Encoder


class DomainNormEncoder(Encoder):
    """An encoder whose batch norms have separate statistics for sketches and photos; weights are shared.

    Each domain of a batch is normalised by its own mean and variance: domain-specific batch normalisation
    (W.-G. Chang et al., CVPR 2019), with one scale and shift for both.

    Args:
        encoder: its statistics become those of photos and the initial ones of sketches. Without batch norms its
            features don't change.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(
            {"kind": "domain_normed", "encoder": encoder.spec}, encoder.preprocess, encoder.width
        )
        self.encoder = encoder
        self._buffer_names = {name: name.replace(".", "/") for name in _batch_norm_buffer_names(encoder)}
        self.sketch_norms = nn.Module()
        for name, flat in self._buffer_names.items():
            self.sketch_norms.register_buffer(flat, encoder.get_buffer(name).clone())

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Each image's map, normalised by its domain's statistics, [b, width, rows, columns]."""
        return self._forward_by_domain(_FeatureMapForward(self.encoder), image, domain)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Each image's features, normalised by its domain's statistics, [b, width]."""
        return self._forward_by_domain(_FeatureForward(self.encoder), image, domain)

    def _forward_by_domain(self, call: nn.Module, image: Tensor, domain: Tensor) -> Tensor:
        # Looked up at every call: moving a model to a device, or averaging it, replaces buffers.
        norms = {
            f"encoder.{name}": self.sketch_norms.get_buffer(flat) for name, flat in self._buffer_names.items()
        }
        return apply_by_domain(image, domain, lambda *sketches: functional_call(call, norms, sketches), call)


class _FeatureForward(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        return self.encoder(image, domain)


class _FeatureMapForward(_FeatureForward):
    def forward(self, image: Tensor, domain: Tensor) -> Tensor:
        return self.encoder.feature_map(image, domain)


def _batch_norm_buffer_names(encoder: Encoder) -> list[str]:
    """The names of the buffers of an encoder's batch norms."""
    return [
        f"{name}.{buffer}"
        for name, part in encoder.named_modules()
        if isinstance(part, _NormBase)
        for buffer, _ in part.named_buffers(recurse=False)
    ]
