"""Zero-shot sketch-based image retrieval: pretrain without labels, search by drawing, explain every result."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

_root = Path(__file__).parents[1]
if (_root / "pyproject.toml").is_file():  # a checkout: explain/, recipes/ and reports/ lie beside this folder
    __path__.append(str(_root))

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

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "data.manifest": ("Domain", "Manifest"),
        "data.readers": ("open_data",),
        "data.splits": ("Split",),
        "encoders": ("Encoder", "load_encoder"),
        "errors": ("SslSbirError",),
        "evaluation": ("evaluate_embeddings",),
        "run": ("RunFolder",),
        "search.retriever": ("Retriever",),
    },
)
