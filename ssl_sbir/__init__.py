"""Zero-shot sketch-based image retrieval: pretrain without labels, search by drawing and text, explain results."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_root = Path(__file__).parents[1]
if (_root / "pyproject.toml").is_file():  # a checkout: explain/, recipes/ and reports/ lie beside this folder
    __path__.append(str(_root))

try:
    __version__ = version("ssl-sbir")
except PackageNotFoundError:  # a bare checkout that nobody installed
    __version__ = "0+checkout"
