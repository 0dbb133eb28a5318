"""Encoders by name: `efficientnet_lite0`, `timm:NAME`, `hf:NAME-or-FOLDER`, `run:FOLDER`, or a run's path."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from ssl_sbir.data.decode_image import FITS
from ssl_sbir.encoders.domain_conditioned import DomainConditionedEncoder
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.encoder_facts import ENCODER_ENTRY_POINTS, LITE0_SIZE
from ssl_sbir.encoders.export import load_exported
from ssl_sbir.encoders.huggingface import huggingface_encoder
from ssl_sbir.encoders.packaged_weights import load_lite0_weights
from ssl_sbir.encoders.timm_models import timm_encoder
from ssl_sbir.encoders.torchvision_models import torchvision_encoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.registry import Registry, did_you_mean

MIN_IMAGE_SIZE = 16
ENCODER_PREFIXES = ("timm:", "hf:", "run:")


@runtime_checkable
class EncoderLoader(Protocol):
    """Builds an encoder for an image side in pixels (None: its default), with pretrained or random weights."""

    def __call__(self, *, size: int | None, pretrained: bool) -> Encoder:
        """The encoder."""


encoder_registry: Registry[EncoderLoader] = Registry("encoder", "ssl-sbir encoders", ENCODER_ENTRY_POINTS)


def load_encoder(
    name: str, *, size: int | None = None, pretrained: bool = True, fit: str | None = None
) -> Encoder:
    """The encoder of that name, in evaluation mode.

    Args:
        name: a name of `encoder_table()`, `timm:NAME`, `timm:NAME@FILE`, `hf:NAME-or-FOLDER`, `run:FOLDER`,
            or the path of a run or of its model/ folder.
        size: image side in pixels; by default the encoder's own.
        pretrained: whether with its trained weights; else random ones.
        fit: how images are brought to that size (see `ssl_sbir.data.decode_image.decode_image`); by default the
            encoder's own.

    Raises:
        EncoderError: the name is unknown, its weights are unavailable, or the size or fit is wrong.
        RunError: the folder holds no complete exported encoder.
    """
    if fit is not None and fit not in FITS:
        raise EncoderError(f"unknown fit '{fit}'.{did_you_mean(fit, FITS)}", f"One of: {', '.join(FITS)}")
    encoder = _load_by_name(name, size, pretrained)
    return encoder if fit is None else encoder.with_fit(fit)


def _load_by_name(name: str, size: int | None, pretrained: bool) -> Encoder:
    if size is not None and size < MIN_IMAGE_SIZE:
        raise EncoderError(
            f"encoder '{name}': images of {size} px are too small", f"Give {MIN_IMAGE_SIZE} px or more."
        )
    prefix, colon, rest = name.partition(":")
    if colon and prefix == "timm":
        return _load_timm_encoder(rest, size, pretrained).eval()
    if colon and prefix == "hf":
        return huggingface_encoder(rest, size=size, pretrained=pretrained).eval()
    if colon and prefix == "run":
        return _load_run_encoder(Path(rest), size, pretrained)
    if name not in encoder_registry.names() and Path(name).is_dir():
        return _load_run_encoder(Path(name), size, pretrained)
    return _find_registered_loader(name)(size=size, pretrained=pretrained).eval()


def _find_registered_loader(name: str) -> EncoderLoader:
    names = encoder_registry.names()
    if "/" in name:
        raise EncoderError(
            f"encoder '{name}': no such folder", "Give the path of a run, or of its model/ folder."
        )
    if name not in names:
        raise EncoderError(
            f"unknown encoder '{name}'.{did_you_mean(name, (*names, *ENCODER_PREFIXES))}",
            "Names: ssl-sbir encoders; also timm:NAME, hf:NAME-or-FOLDER and run:FOLDER.",
        )
    return encoder_registry.get(name)


def _load_timm_encoder(rest: str, size: int | None, pretrained: bool) -> Encoder:
    name, at, path = rest.partition("@")
    return timm_encoder(
        name, size=size, pretrained=Path(path).expanduser() if at and pretrained else pretrained
    )


def _load_run_encoder(folder: Path, size: int | None, pretrained: bool) -> Encoder:
    if not pretrained:
        raise EncoderError(
            f"run:{folder} without its weights", "Leave pretrained on, or name an architecture instead."
        )
    encoder = load_exported(folder / "model" if (folder / "model").is_dir() else folder)
    if size not in (None, encoder.preprocess.size):
        raise EncoderError(
            f"run:{folder} takes images of {encoder.preprocess.size} px, not {size}",
            "Leave the size out: an exported encoder has its own.",
        )
    return encoder


@encoder_registry.register("efficientnet_lite0")
def _load_lite0(*, size: int | None, pretrained: bool) -> Encoder:
    return timm_encoder(
        "tf_efficientnet_lite0",
        size=size or LITE0_SIZE,
        pretrained=load_lite0_weights if pretrained else False,
        encoder_name="efficientnet_lite0",
    )


@encoder_registry.register("efficientnet_lite0_conditional")
def _load_lite0_conditional(*, size: int | None, pretrained: bool) -> Encoder:
    return DomainConditionedEncoder(_load_lite0(size=size, pretrained=pretrained))


@encoder_registry.register("resnet50")
def _load_resnet50(*, size: int | None, pretrained: bool) -> Encoder:
    return torchvision_encoder("resnet50", size=size, pretrained=pretrained)


@encoder_registry.register("vgg16_bn")
def _load_vgg16_bn(*, size: int | None, pretrained: bool) -> Encoder:
    return torchvision_encoder("vgg16_bn", size=size, pretrained=pretrained)


@encoder_registry.register("cse_resnet50")
def _load_cse_resnet50(*, size: int | None, pretrained: bool) -> Encoder:
    # timm's legacy SE-ResNet50 has the architecture and the weights that SAKE's authors started from.
    plain = timm_encoder("legacy_seresnet50", size=size, pretrained=pretrained, encoder_name="cse_resnet50")
    return DomainConditionedEncoder(plain, "gates")
