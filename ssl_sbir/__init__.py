"""Zero-shot sketch-based image retrieval: pretrain without labels, search by drawing, explain every result."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

_checkout_root = Path(__file__).parents[1]
if (
    _checkout_root / "pyproject.toml"
).is_file():  # a checkout: explain/, recipes/ and reports/ lie beside this folder
    __path__.append(str(_checkout_root))

try:
    __version__ = version("ssl-sbir")
except PackageNotFoundError:  # a bare checkout that nobody installed
    __version__ = "0+checkout"

if TYPE_CHECKING:
    from ssl_sbir.data.manifest import Domain as Domain
    from ssl_sbir.data.manifest import Manifest as Manifest
    from ssl_sbir.data.readers import open_data as open_data
    from ssl_sbir.data.splits import Split as Split
    from ssl_sbir.encoders import Encoder as Encoder
    from ssl_sbir.encoders import load_encoder as load_encoder
    from ssl_sbir.errors import SslSbirError as SslSbirError
    from ssl_sbir.evaluation import evaluate_embeddings as evaluate_embeddings
    from ssl_sbir.run import RunFolder as RunFolder
    from ssl_sbir.search.retriever import Retriever as Retriever

_LAZY_EXPORTS = {
    "Domain": "data.manifest",
    "Manifest": "data.manifest",
    "open_data": "data.readers",
    "Split": "data.splits",
    "Encoder": "encoders",
    "load_encoder": "encoders",
    "SslSbirError": "errors",
    "evaluate_embeddings": "evaluation",
    "Retriever": "search.retriever",
    "RunFolder": "run",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: torch and its kin take seconds to load."""
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module 'ssl_sbir' has no attribute '{name}'")
    return getattr(import_module(f"ssl_sbir.{_LAZY_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY_EXPORTS])
