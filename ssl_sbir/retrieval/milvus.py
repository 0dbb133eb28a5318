"""Milvus reached by URI: a client, one named cause for all that fails, and new collections."""

import os
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from ssl_sbir.errors import GalleryError
from ssl_sbir.retrieval.index_file import write_index

INDEXES = {
    "flat": ({}, {}),
    "hnsw": ({"M": 32, "efConstruction": 80}, {"ef": 128}),
    "ivf": ({"nlist": 1024}, {"nprobe": 64}),
}
TYPES = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT"}
LONGEST = 65_535  # bytes of an id with its metadata; Milvus's limit
TIMEOUT = 30.0  # seconds that a server may take to answer


def create_milvus(folder: Path, width: int, kind: str, uri: str, facts: dict[str, Any]) -> None:
    """Makes an empty collection at a URI, and the index folder that names it.

    Args:
        folder: of the index; it exists.
        width: length of a vector.
        kind: `flat` (exact), `hnsw` or `ivf`.
        uri: `http://host:port`, or a file that ends in `.db`.
        facts: further facts of the index.

    Raises:
        GalleryError: pymilvus isn't installed, or nothing answers at the URI.
    """
    client, name = connected(uri_of(uri, folder), TIMEOUT), f"ssl_sbir_{uuid.uuid4().hex[:16]}"
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
    schema.add_field("item", DataType.VARCHAR, max_length=LONGEST)
    index = client.prepare_index_params()
    index.add_index("vector", index_type=TYPES[kind], metric_type="IP", params=INDEXES[kind][0])
    with answering(uri):
        client.create_collection(
            name, schema=schema, index_params=index, consistency_level="Strong", timeout=TIMEOUT
        )
    place = {"uri": uri, "collection": name}
    write_index(folder, f"milvus:{kind}", width, {**facts, "milvus": place})
    client.close()


def uri_of(uri: str, folder: Path) -> str:
    """The URI; a bare file name lies in the index folder, so that the folder can be moved."""
    return uri if "://" in uri or os.path.isabs(uri) else str(folder.absolute() / uri)


def key_of(name: str) -> str:
    """The primary key of an id: a hash, since an id may hold what neither a message nor an expression can."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def connected(uri: str, timeout: float) -> Any:
    """A client of that URI.

    Raises:
        GalleryError: pymilvus isn't installed, or nothing answers.
    """
    try:
        with warnings.catch_warnings():  # its dependencies warn of their own future while they are imported
            warnings.simplefilter("ignore")
            from pymilvus import MilvusClient
    except ImportError as error:
        raise GalleryError(
            "this index is kept by Milvus: pymilvus is missing", "pip install 'ssl-sbir[milvus]'"
        ) from error
    with answering(uri):
        return MilvusClient(uri=uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=timeout)


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turns what Milvus and its channel raise into one named cause."""
    import grpc
    from pymilvus.exceptions import MilvusException

    start = time.monotonic()
    try:
        yield
    except (MilvusException, grpc.RpcError, ConnectionError, ValueError) as error:
        said = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise GalleryError(
            f"Milvus at {uri} gave no answer after {time.monotonic() - start:.0f} s: {said}",
            "Check that it runs and can be reached (a .db file: that no other process has it open).",
        ) from error
