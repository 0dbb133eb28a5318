"""Galleries by the name of their engine: made, and opened again."""

from pathlib import Path
from typing import Any

import torch

from ssl_sbir.errors import GalleryError
from ssl_sbir.registry import did_you_mean
from ssl_sbir.retrieval.folder_gallery import FolderGallery, search_of
from ssl_sbir.retrieval.gallery import WAIT, Gallery
from ssl_sbir.retrieval.milvus_gallery import MilvusGallery, create_milvus
from ssl_sbir.retrieval.store import INDEX, locked, read_index, write_index

MILVUS_FILE = "gallery.db"
ENGINES = {
    "exact": "exact",
    "faiss": "faiss:flat",
    "faiss:flat": "faiss:flat",
    "faiss:hnsw": "faiss:hnsw",
    "faiss:ivf": "faiss:ivf",
    "milvus": "milvus:flat",
    "milvus-hnsw": "milvus:hnsw",
    "milvus-ivf": "milvus:ivf",
}


def create_gallery(
    folder: Path | str,
    width: int,
    *,
    engine: str = "exact",
    facts: dict[str, Any] | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> Gallery:
    """A new, empty gallery.

    Args:
        folder: of the index.
        width: length of a vector.
        engine: `exact`, `faiss` (flat), `faiss:hnsw`, `faiss:ivf`, or `milvus:URI` (also `milvus-hnsw:URI` and
            `milvus-ivf:URI`). A Milvus URI is `http://host:port` or a file that ends in `.db`; without one, a file
            in the index folder is used.
        facts: JSON-able, kept in `index.json`.
        device: where exact search computes; the GPU where there is one.
        overwrite: an older index there gives way.

    Raises:
        GalleryError: the folder is taken, or there is no such engine or it doesn't answer.
    """
    folder, (name, uri) = Path(folder), parse_engine(engine)
    if not uri:
        search_of(name)  # says at once what isn't installed
    _refuse_taken(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, WAIT):
        _refuse_taken(folder, overwrite)
        _drop(folder)
        if uri:
            create_milvus(folder, width, name.partition(":")[2], uri, facts or {})
        else:
            write_index(folder, name, width, facts or {})
    return open_gallery(folder, device=device)


def open_gallery(folder: Path | str, *, device: str | None = None) -> Gallery:
    """The gallery that was made in a folder.

    Args:
        folder: of the index.
        device: where exact search computes; the GPU where there is one.

    Raises:
        GalleryError: there is none, it is damaged, or its engine isn't installed or doesn't answer.
    """
    folder = Path(folder)
    if str(read_index(folder)["engine"]).startswith("milvus"):
        return MilvusGallery(folder)
    return FolderGallery(folder, device or ("cuda" if torch.cuda.is_available() else "cpu"))


def parse_engine(spec: str) -> tuple[str, str]:
    """(engine, URI) of what a user wrote; the URI is empty but for Milvus.

    Raises:
        GalleryError: there is no such engine.
    """
    name, _, rest = spec.partition(":")
    if name.startswith("milvus") and name in ENGINES:
        return ENGINES[name], _uri(rest)
    if spec not in ENGINES:
        raise GalleryError(
            f"unknown engine '{spec}'.{did_you_mean(spec, ENGINES)}",
            "One of: exact, faiss, faiss:hnsw, faiss:ivf, milvus:URI, milvus-hnsw:URI, milvus-ivf:URI",
        )
    return ENGINES[spec], ""


def _uri(given: str) -> str:
    if not given:
        return MILVUS_FILE
    if "://" in given:
        return given
    if not given.endswith(".db"):
        raise GalleryError(f"Milvus at '{given}'", "Give http://HOST:PORT, or a file that ends in .db.")
    return str(Path(given).absolute())


def _refuse_taken(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise GalleryError(f"{folder} is a file", "Choose another place for the index with --out.")
    if (folder / INDEX).is_file():
        if not overwrite:
            raise GalleryError(
                f"{folder} already holds an index", "Start over: --overwrite    Elsewhere: --out"
            )
    elif any(not it.name.startswith(("index.lock", "segment-", MILVUS_FILE)) for it in folder.iterdir()):
        raise GalleryError(
            f"{folder} already holds something that is not an index", "Choose another with --out."
        )


def _drop(folder: Path) -> None:
    """Lets go of an older index's collection; files of older segments go with the next change."""
    if (folder / INDEX).is_file() and str(read_index(folder)["engine"]).startswith("milvus"):
        old = MilvusGallery(folder)
        old.drop()
        old.close()
