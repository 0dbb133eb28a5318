"""Encoders by name: `efficientnet_lite0`, `timm:NAME`, `hf:NAME-or-FOLDER`, `run:FOLDER`, or a run's path."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from ssl_sbir.data.images import FITS
from ssl_sbir.encoders.conditional import DomainConditioned
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.export import load_exported
from ssl_sbir.encoders.huggingface import huggingface_encoder
from ssl_sbir.encoders.packaged import load_packaged
from ssl_sbir.encoders.timm_models import timm_encoder
from ssl_sbir.encoders.torchvision_models import torchvision_encoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.registry import Registry, did_you_mean

LITE0_SIZE = 112
SMALLEST = 16
PREFIXES = ("timm:", "hf:", "run:")


@runtime_checkable
class Load(Protocol):
    """Makes an encoder of an image side in pixels (None: its default), with pretrained or random weights."""

    def __call__(self, *, size: int | None, pretrained: bool) -> Encoder:
        """The encoder."""


encoders: Registry[Load] = Registry("encoder", "ssl-sbir encoders", "ssl_sbir.encoders")


def load_encoder(
    name: str, *, size: int | None = None, pretrained: bool = True, fit: str | None = None
) -> Encoder:
    """The encoder of that name, in evaluation mode.

    Args:
        name: a name of `encoder_table()`, `timm:NAME`, `timm:NAME@FILE`, `hf:NAME-or-FOLDER`, `run:FOLDER`,
            or the path of a run or of its model/ folder.
        size: image side in pixels; by default the encoder's own.
        pretrained: with its weights; else random ones.
        fit: how pictures are brought to that size (`ssl_sbir.data.images.decode`); by default the encoder's own.

    Raises:
        EncoderError: the name is unknown, its weights can't be had, or the size or fit doesn't exist.
        RunError: the folder holds no whole exported encoder.
    """
    if fit is not None and fit not in FITS:
        raise EncoderError(f"unknown fit '{fit}'.{did_you_mean(fit, FITS)}", f"One of: {', '.join(FITS)}")
    encoder = _loaded(name, size, pretrained)
    return encoder if fit is None else encoder.with_fit(fit)


def _loaded(name: str, size: int | None, pretrained: bool) -> Encoder:
    if size is not None and size < SMALLEST:
        raise EncoderError(
            f"encoder '{name}': images of {size} px are too small", f"Give {SMALLEST} px or more."
        )
    prefix, colon, rest = name.partition(":")
    if colon and prefix == "timm":
        return _timm(rest, size, pretrained).eval()
    if colon and prefix == "hf":
        return huggingface_encoder(rest, size=size, pretrained=pretrained).eval()
    if colon and prefix == "run":
        return _exported(Path(rest), size, pretrained)
    if name not in encoders.names() and Path(name).is_dir():
        return _exported(Path(name), size, pretrained)
    return _registered(name)(size=size, pretrained=pretrained).eval()


def _registered(name: str) -> Load:
    names = encoders.names()
    if "/" in name:
        raise EncoderError(
            f"encoder '{name}': no such folder", "Give the path of a run, or of its model/ folder."
        )
    if name not in names:
        raise EncoderError(
            f"unknown encoder '{name}'.{did_you_mean(name, (*names, *PREFIXES))}",
            "Names: ssl-sbir encoders; also timm:NAME, hf:NAME-or-FOLDER and run:FOLDER.",
        )
    return encoders.get(name)


def _timm(rest: str, size: int | None, pretrained: bool) -> Encoder:
    name, at, path = rest.partition("@")
    return timm_encoder(
        name, size=size, pretrained=Path(path).expanduser() if at and pretrained else pretrained
    )


def _exported(folder: Path, size: int | None, pretrained: bool) -> Encoder:
    if not pretrained:
        raise EncoderError(
            f"run:{folder} without its weights", "Leave pretrained on, or name an architecture."
        )
    encoder = load_exported(folder / "model" if (folder / "model").is_dir() else folder)
    if size not in (None, encoder.preprocess.size):
        raise EncoderError(
            f"run:{folder} takes images of {encoder.preprocess.size} px, not {size}",
            "Leave the size out: an exported encoder carries its own.",
        )
    return encoder


@encoders.register("efficientnet_lite0")
def _lite0(*, size: int | None, pretrained: bool) -> Encoder:
    return timm_encoder(
        "tf_efficientnet_lite0",
        size=size or LITE0_SIZE,
        pretrained=load_packaged if pretrained else False,
        asked="efficientnet_lite0",
    )


@encoders.register("efficientnet_lite0_conditional")
def _lite0_conditional(*, size: int | None, pretrained: bool) -> Encoder:
    return DomainConditioned(_lite0(size=size, pretrained=pretrained))


@encoders.register("resnet50")
def _resnet50(*, size: int | None, pretrained: bool) -> Encoder:
    return torchvision_encoder("resnet50", size=size, pretrained=pretrained)


@encoders.register("vgg16_bn")
def _vgg16_bn(*, size: int | None, pretrained: bool) -> Encoder:
    return torchvision_encoder("vgg16_bn", size=size, pretrained=pretrained)


@encoders.register("cse_resnet50")
def _cse_resnet50(*, size: int | None, pretrained: bool) -> Encoder:
    # timm's legacy SE-ResNet50 is the network, and has the weights, that SAKE's authors started from.
    plain = timm_encoder("legacy_seresnet50", size=size, pretrained=pretrained, asked="cse_resnet50")
    return DomainConditioned(plain, "gates")
