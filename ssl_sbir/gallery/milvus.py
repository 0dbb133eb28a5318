"""A gallery in Milvus: a file (`gallery.db`), a server or a cluster, by URI.

The index folder holds only `index.json`, which names URI and collection. Changes take effect one batch at a time: a
process that dies while adding leaves an incomplete collection, and adding again completes it. An access token is read
from MILVUS_TOKEN and never written.
"""

import json
import os
import time
import uuid
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import GalleryError
from ssl_sbir.gallery.base import WRITE_WAIT_SECONDS, Metadata, Neighbour, validate_items, validate_vectors
from ssl_sbir.gallery.store import (
    check_same_identity,
    lock_index,
    read_index,
    write_index,
    write_index_contents,
)

MILVUS_INDEX_PARAMS = {
    "flat": ({}, {}),
    "hnsw": ({"M": 32, "efConstruction": 80}, {"ef": 128}),
    "ivf": ({"nlist": 1024}, {"nprobe": 64}),
}
MILVUS_INDEX_TYPES = {"flat": "FLAT", "hnsw": "HNSW", "ivf": "IVF_FLAT"}
MILVUS_MAX_ITEM_BYTES = 65_535  # of an id with its metadata; Milvus's limit
MILVUS_MAX_RESULTS = 16_384  # of a query; Milvus's limit
MILVUS_ROWS_PER_CALL, MILVUS_QUERIES_PER_CALL = 1_000, 64  # messages far below the limit of 64 MB
MILVUS_TIMEOUT = 30.0  # seconds


class MilvusGallery:
    """See `Gallery`. Equal scores come in Milvus's own order.

    Args:
        folder: an index made by `create_milvus_index`.
        timeout: seconds that a call may take.

    Raises:
        GalleryError: there is no index, pymilvus isn't installed, or nothing answers at its URI.
    """

    def __init__(self, folder: Path, timeout: float = MILVUS_TIMEOUT) -> None:
        index = read_index(folder)
        self._folder, self._timeout, self._identity = folder, timeout, str(index.get("identity"))
        self.engine, self.width, self.facts = str(index["engine"]), int(index["width"]), index["facts"]
        location = self.facts["milvus"]
        self._uri, self._collection = resolve_milvus_uri(location["uri"], folder), str(location["collection"])
        self._client = connect_milvus(self._uri, timeout)
        self._lock_held = False
        if not self._call_client("has_collection"):
            raise GalleryError(
                f"{self._uri} has no collection {self._collection}: it was dropped, or another server answers there",
                "Make the index again: ssl-sbir index … --overwrite",
            )
        self._call_client("load_collection")

    def __len__(self) -> int:
        return int(self._call_client("query", filter="", output_fields=["count(*)"])[0]["count(*)"])

    def add(
        self, ids: Sequence[str], vectors: Float[Tensor, "n d"], metadata: Sequence[Metadata] | None = None
    ) -> None:
        """See `Gallery.add`."""
        unit, stored = validate_items(ids, vectors, metadata, self.width)
        items = [_encode_item(name, one) for name, one in zip(ids, stored, strict=True)]
        with self.write_transaction():
            for start in range(0, len(ids), MILVUS_ROWS_PER_CALL):
                part = slice(start, start + MILVUS_ROWS_PER_CALL)
                rows = zip(ids[part], unit[part].tolist(), items[part], strict=True)
                data = [
                    {"key": milvus_primary_key(name), "vector": vector, "item": item}
                    for name, vector, item in rows
                ]
                self._call_client("upsert", data=data)

    def remove(self, ids: Collection[str]) -> int:
        """See `Gallery.remove`."""
        names, count = list(dict.fromkeys(ids)), 0
        with self.write_transaction():
            for start in range(0, len(names), MILVUS_ROWS_PER_CALL):
                keys = [milvus_primary_key(name) for name in names[start : start + MILVUS_ROWS_PER_CALL]]
                existing = [row["key"] for row in self._call_client("get", ids=keys, output_fields=["key"])]
                if existing:
                    self._call_client("delete", ids=existing)
                count += len(existing)
        return count

    def search(self, vectors: Float[Tensor, "q d"], k: int) -> list[list[Neighbour]]:
        """See `Gallery.search`."""
        queries = validate_vectors(vectors, self.width, "query")
        if k > MILVUS_MAX_RESULTS:
            raise GalleryError(
                f"{k} results of a query; Milvus gives {MILVUS_MAX_RESULTS:,} at most", "Ask for fewer."
            )
        if k < 1:
            return [[] for _ in queries]
        parameters = {"metric_type": "IP", "params": MILVUS_INDEX_PARAMS[self._index_kind][1]}
        found: list[list[Neighbour]] = []
        for part in queries.split(MILVUS_QUERIES_PER_CALL):
            hits = self._call_client(
                "search", data=part.tolist(), limit=k, output_fields=["item"], search_params=parameters
            )
            found += [[_decode_neighbour(hit) for hit in of] for of in hits]
        return found

    def get_vectors(self, ids: Sequence[str]) -> Float[Tensor, "n d"]:
        """See `Gallery.get_vectors`."""
        found: dict[str, list[float]] = {}
        for start in range(0, len(ids), MILVUS_ROWS_PER_CALL):
            keys = [milvus_primary_key(name) for name in ids[start : start + MILVUS_ROWS_PER_CALL]]
            rows = self._call_client("get", ids=keys, output_fields=["key", "vector"])
            found |= {row["key"]: row["vector"] for row in rows}
        missing = next((name for name in ids if milvus_primary_key(name) not in found), None)
        if missing is not None:
            raise GalleryError(f"no item {missing!r} in this index", "Ids are those of its results.")
        return torch.tensor([found[milvus_primary_key(name)] for name in ids]).view(len(ids), self.width)

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """See `Gallery.items`."""
        last = ""
        while True:  # page by page along the keys: the library's iterator needs a newer server
            page = self._call_client(
                "query", filter=f'key > "{last}"', output_fields=["item"], limit=MILVUS_ROWS_PER_CALL
            )
            for row in page:
                item = json.loads(row["item"])
                yield item["id"], item["metadata"]
            if len(page) < MILVUS_ROWS_PER_CALL:
                return
            last = max(row["key"] for row in page)

    def update_facts(self, **facts: Any) -> None:
        """See `Gallery.update_facts`."""
        with self.write_transaction():
            index = read_index(self._folder)
            self.facts = {**index["facts"], **facts}
            write_index_contents(self._folder, {**index, "facts": self.facts})

    @contextmanager
    def write_transaction(self, wait: float = WRITE_WAIT_SECONDS) -> Iterator[None]:
        """See `Gallery.write_transaction`."""
        if self._lock_held:
            yield
            return
        with lock_index(self._folder, wait):
            check_same_identity(self._folder, self._identity)
            self._lock_held = True
            try:
                yield
            finally:
                self._lock_held = False

    def recall_facts(self) -> dict[str, float]:
        """See `Gallery.recall_facts`: empty, since Milvus offers no exact search of an approximate collection."""
        return {}

    def close(self) -> None:
        """See `Gallery.close`."""
        self._client.close()

    @property
    def _index_kind(self) -> str:
        return self.engine.partition(":")[2]

    def _call_client(self, method: str, **arguments: Any) -> Any:
        with milvus_errors_named(self._uri):
            return getattr(self._client, method)(self._collection, timeout=self._timeout, **arguments)


def create_milvus_index(folder: Path, width: int, kind: str, uri: str, facts: dict[str, Any]) -> None:
    """Creates an empty collection at a URI, and the index folder that names it.

    Args:
        folder: of the index; must exist.
        width: length of a vector.
        kind: `flat` (exact), `hnsw` or `ivf`.
        uri: `http://host:port`, or a file that ends in `.db`.
        facts: further facts of the index.

    Raises:
        GalleryError: pymilvus isn't installed, or nothing answers at the URI.
    """
    name = f"ssl_sbir_{uuid.uuid4().hex[:16]}"
    client = connect_milvus(resolve_milvus_uri(uri, folder), MILVUS_TIMEOUT)
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
    schema.add_field("item", DataType.VARCHAR, max_length=MILVUS_MAX_ITEM_BYTES)
    index = client.prepare_index_params()
    index.add_index(
        "vector", index_type=MILVUS_INDEX_TYPES[kind], metric_type="IP", params=MILVUS_INDEX_PARAMS[kind][0]
    )
    with milvus_errors_named(uri):
        client.create_collection(
            name, schema=schema, index_params=index, consistency_level="Strong", timeout=MILVUS_TIMEOUT
        )
    location = {"uri": uri, "collection": name}
    write_index(folder, f"milvus:{kind}", width, {**facts, "milvus": location})
    client.close()


def drop_milvus_collection(uri: str, collection: str) -> None:
    """Deletes a collection and its contents.

    Raises:
        GalleryError: pymilvus isn't installed, or nothing answers at the URI.
    """
    client = connect_milvus(uri, MILVUS_TIMEOUT)
    with milvus_errors_named(uri):
        client.drop_collection(collection, timeout=MILVUS_TIMEOUT)
    client.close()


def resolve_milvus_uri(uri: str, folder: Path) -> str:
    """The URI; a bare file name lies in the index folder, so that the folder can be moved."""
    return uri if "://" in uri or os.path.isabs(uri) else str(folder.absolute() / uri)


def milvus_primary_key(name: str) -> str:
    """The primary key of an id: a hash, since an id may hold characters that messages and filters can't."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def connect_milvus(uri: str, timeout: float) -> Any:
    """A client of that URI.

    Raises:
        GalleryError: pymilvus isn't installed, or nothing answers.
    """
    try:
        with warnings.catch_warnings():  # its dependencies emit deprecation warnings on import
            warnings.simplefilter("ignore")
            from pymilvus import MilvusClient
    except ImportError as error:
        raise GalleryError(
            "this index needs pymilvus, which is not installed", "pip install 'ssl-sbir[milvus]'"
        ) from error
    with milvus_errors_named(uri):
        return MilvusClient(uri=uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=timeout)


@contextmanager
def milvus_errors_named(uri: str) -> Iterator[None]:
    """Turns errors of Milvus and gRPC into a `GalleryError` that names the URI."""
    import grpc
    from pymilvus.exceptions import MilvusException

    start = time.monotonic()
    try:
        yield
    except (MilvusException, grpc.RpcError, ConnectionError, ValueError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise GalleryError(
            f"Milvus at {uri} gave no answer after {time.monotonic() - start:.0f} s: {reason}",
            "Check that it runs and can be reached (a .db file: that no other process has it open).",
        ) from error


def _encode_item(name: str, metadata: Metadata) -> str:
    text = json.dumps({"id": name, "metadata": metadata})  # ASCII only: an id may be invalid Unicode
    if len(text) > MILVUS_MAX_ITEM_BYTES:
        raise GalleryError(
            f"id {name[:60]!r}… and its metadata are longer than {MILVUS_MAX_ITEM_BYTES:,} bytes",
            "Shorten them.",
        )
    return text


def _decode_neighbour(hit: Any) -> Neighbour:
    item = json.loads(hit["entity"]["item"])
    return Neighbour(item["id"], float(hit["distance"]), item["metadata"])
