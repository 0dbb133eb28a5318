"""Galleries of every engine, so that one test speaks of all of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from milvus_server import Server, program

from ssl_sbir.gallery.base import Gallery
from ssl_sbir.gallery.create import create_gallery

Make = Callable[..., Gallery]


@pytest.fixture
def milvus_server(tmp_path: Path) -> Iterator[Server]:
    """A running server; skips, saying why, where it isn't installed or doesn't start."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'pymilvus[milvus-lite]'")
    if not program():
        pytest.skip("no milvus-server: pip install milvus==2.3.5")
    server = Server(tmp_path)
    try:
        if not server.answers():
            pytest.skip(f"milvus-server did not start: {server.log.read_text(errors='replace')[-300:]}")
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["exact", "faiss", "milvus-file"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An engine that finds everything, as `create_gallery` takes it."""
    if request.param == "faiss":
        pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    if request.param == "milvus-file":
        pytest.importorskip("milvus_lite", reason="no Milvus file: pip install 'pymilvus[milvus-lite]'")
        return f"milvus:{tmp_path / 'gallery.db'}"
    return request.param


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes galleries and closes them."""
    made: list[Gallery] = []

    def one(width: int, engine: str = "exact", name: str = "index", **more: object) -> Gallery:
        made.append(create_gallery(tmp_path / name, width, engine=engine, device="cpu", **more))
        return made[-1]

    yield one
    for gallery in made:
        gallery.close()
