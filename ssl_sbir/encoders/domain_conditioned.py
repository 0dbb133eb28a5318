"""Encoders conditioned on the domain, as SAKE's CSE-ResNet50 is; the conditioning starts as the identity."""

from typing import Any

import torch
from jaxtyping import Float, Int
from timm.layers.squeeze_excite import EffectiveSEModule, SEModule
from timm.models import senet
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from ssl_sbir.encoders.class_vocabulary import ClassVocabulary
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.text_encoder import TextEncoder
from ssl_sbir.errors import EncoderError

# The layer before the sigmoid of each kind of squeeze-and-excitation block.
GATE_LAYERS: dict[type[nn.Module], str] = {
    EffectiveSEModule: "fc",
    SEModule: "fc2",
    SqueezeExcitation: "fc2",
    SqueezeExcite: "conv_expand",
    senet.SEModule: "fc2",
}
BATCH_NORM_TYPES = (nn.BatchNorm2d, nn.SyncBatchNorm)


class DomainTag:
    """The domains [b] of the current batch, read by every conditioned block."""

    def __init__(self) -> None:
        self.domain: Tensor | None = None

    def batch_domains(self, x: Tensor) -> Tensor:
        """The domains of the images of `x`, on its device.

        Raises:
            RuntimeError: the block runs outside its `DomainConditionedEncoder`.
        """
        if self.domain is None or len(self.domain) != len(x):
            raise RuntimeError("a conditioned block ran outside its DomainConditionedEncoder")
        return self.domain


class DomainGate(nn.Module):
    """W2·[x; d]: the layer before an SE block's sigmoid with one more input, the domain (0 or 1).

    The new input's column starts at 0, so that the block is unchanged at the start (SAKE, Liu et al., ICCV 2019).
    """

    def __init__(self, layer: nn.Conv2d, tag: DomainTag) -> None:
        super().__init__()
        self.layer, self.tag = layer, tag
        self.column = nn.Parameter(layer.weight.new_zeros(layer.out_channels))

    def forward(self, x: Float[Tensor, "b c 1 1"]) -> Float[Tensor, "b k 1 1"]:
        """Gate logits [b, k, 1, 1]."""
        logits = self.layer(x)
        shift = self.tag.batch_domains(x)[:, None].to(self.column.dtype) * self.column
        return logits + shift[:, :, None, None].to(logits.dtype)


class DomainNorm(nn.Module):
    """Batch norm, then a scale and a shift per domain, then the norm's activation if it has one.

    Scales start at 1 and shifts at 0 (stored as differences from these), so that the block is unchanged at the start.
    """

    def __init__(self, norm: Any, tag: DomainTag) -> None:
        super().__init__()
        # timm's BatchNormAct2d includes its activation, which belongs after the shift.
        self.act = getattr(norm, "act", nn.Identity())
        if hasattr(norm, "act"):
            norm.act = nn.Identity()
        self.norm, self.tag = norm, tag
        self.scale = nn.Parameter(norm.weight.new_zeros(2, norm.num_features))
        self.shift = nn.Parameter(norm.weight.new_zeros(2, norm.num_features))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The normalised map, scaled and shifted by domain, [b, c, h, w]."""
        normed = self.norm(x)
        domain = self.tag.batch_domains(x)
        scale = (1 + self.scale[domain])[:, :, None, None].to(normed.dtype)
        shift = self.shift[domain][:, :, None, None].to(normed.dtype)
        return self.act(torch.addcmul(shift, normed, scale))


class DomainConditionedEncoder(Encoder):
    """An encoder whose blocks are conditioned on the domain; equal to the plain one until it is trained.

    Blocks of the given encoder are replaced in place: don't use it on its own afterwards.

    Args:
        encoder: any encoder with squeeze-and-excitation blocks or batch norms.
        target: "gates" (SE blocks, as SAKE), "norms" (batch norms), or "auto": gates if there are any.

    Raises:
        EncoderError: it has no such blocks.
    """

    def __init__(self, encoder: Encoder, target: str = "auto") -> None:
        gates, norms = (
            _modules_of_type(encoder, tuple(GATE_LAYERS)),
            _modules_of_type(encoder, BATCH_NORM_TYPES),
        )
        chosen = ("gates" if gates else "norms") if target == "auto" else target
        blocks = {"gates": gates, "norms": norms}[chosen]
        if not blocks:
            raise EncoderError(
                f"nothing to condition in {encoder.spec.get('model', 'this encoder')}: no {chosen}",
                "Choose a backbone with SE blocks or batch norm, for example efficientnet_lite0.",
            )
        spec = {"kind": "conditioned", "where": chosen, "encoder": encoder.spec}
        super().__init__(spec, encoder.preprocess, encoder.width)
        self.tag = DomainTag()
        for name, block in blocks:
            _condition_block(encoder, name, block, self.tag)
        self.encoder = encoder

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The encoder's map [b, width, rows, columns], conditioned on each image's domain."""
        self.tag.domain = domain
        return self.encoder.feature_map(image, domain)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width], conditioned on each image's domain."""
        self.tag.domain = domain
        return self.encoder(image, domain)

    def classifier(self) -> nn.Linear | None:
        """A copy of the plain encoder's linear classifier, or None."""
        return self.encoder.classifier()

    def class_vocabulary(self) -> ClassVocabulary | None:
        """The words of the plain encoder's classes, or None."""
        return self.encoder.class_vocabulary()

    def load_own_text_encoder(self, device: str = "cpu") -> TextEncoder | None:
        """The plain encoder's own text tower, or None."""
        return self.encoder.load_own_text_encoder(device)

    @property
    def text_source(self) -> str:
        """That of the plain encoder."""
        return self.encoder.text_source


def _modules_of_type(encoder: nn.Module, types: tuple[type[nn.Module], ...]) -> list[tuple[str, nn.Module]]:
    return [(name, block) for name, block in encoder.named_modules() if isinstance(block, types)]


def _condition_block(encoder: nn.Module, name: str, block: nn.Module, tag: DomainTag) -> None:
    layer = next((GATE_LAYERS[kind] for kind in GATE_LAYERS if isinstance(block, kind)), None)
    if layer is not None:
        setattr(block, layer, DomainGate(getattr(block, layer), tag))
        return
    parent, _, child = name.rpartition(".")
    setattr(encoder.get_submodule(parent), child, DomainNorm(block, tag))
