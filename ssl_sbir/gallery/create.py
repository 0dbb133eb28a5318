"""Creates and opens galleries by the name of their engine."""

import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_sbir.devices import AUTO, resolve_device
from ssl_sbir.errors import GalleryError
from ssl_sbir.files import translate_write_errors
from ssl_sbir.gallery.base import WRITE_WAIT_SECONDS, Gallery
from ssl_sbir.gallery.folder_gallery import FolderGallery, create_segment_search
from ssl_sbir.gallery.milvus import (
    MilvusGallery,
    create_milvus_index,
    drop_milvus_collection,
    resolve_milvus_uri,
)
from ssl_sbir.gallery.store import (
    INDEX_FILE,
    LOCK_FILE,
    STAGING_PREFIX,
    lock_index,
    read_index,
    remove_unnamed_files,
    write_index,
    write_index_contents,
)
from ssl_sbir.registry import did_you_mean

MILVUS_FILE = "gallery.db"
GALLERY_ENGINES = {
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
    device: str = AUTO,
    overwrite: bool = False,
    wait: float = WRITE_WAIT_SECONDS,
) -> Gallery:
    """A new, empty gallery; see `create_atomically`.

    Args:
        device: where exact search computes; the GPU where there is one.
    """
    with create_atomically(folder, width, engine=engine, facts=facts, overwrite=overwrite, wait=wait):
        pass
    return open_gallery(folder, device=device)


@contextmanager
def create_atomically(
    folder: Path | str,
    width: int,
    *,
    engine: str = "exact",
    facts: dict[str, Any] | None = None,
    overwrite: bool = False,
    wait: float = WRITE_WAIT_SECONDS,
) -> Iterator[Gallery]:
    """Yields a new gallery to fill; it moves into the folder when the block ends.

    Until then, and if the block raises, an older index stays unchanged. The index is locked against other writers. A
    process that is killed leaves a Milvus collection that no index names.

    Args:
        folder: of the index.
        width: length of a vector.
        engine: `exact`, `faiss` (flat), `faiss:hnsw`, `faiss:ivf`, or `milvus:URI` (also `milvus-hnsw:URI` and
            `milvus-ivf:URI`). A Milvus URI is `http://host:port` or a file that ends in `.db`; without one, a file
            in the index folder is used.
        facts: JSON-able, stored in `index.json`.
        overwrite: replace an older index.
        wait: seconds to wait for another process that writes the index.

    Raises:
        GalleryError: the folder is taken, or the engine is unknown, not installed or doesn't answer.
    """
    folder, (name, uri) = Path(folder), parse_engine(engine)
    if not uri:
        create_segment_search(name)  # raises at once where something is not installed
    _check_folder_free(folder, overwrite)
    with translate_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock_index(folder, wait):
        _check_folder_free(folder, overwrite)
        staging = folder / f"{STAGING_PREFIX}{secrets.token_hex(4)}"
        with translate_write_errors(folder):
            staging.mkdir()
        try:
            if uri:
                create_milvus_index(
                    staging, width, name.partition(":")[2], resolve_milvus_uri(uri, folder), facts or {}
                )
            else:
                write_index(staging, name, width, facts or {})
            new = open_gallery(staging, device="cpu")
            try:
                yield new
            except BaseException:
                _drop_collection(new.facts, folder)
                raise
            finally:
                new.close()
            with translate_write_errors(folder):
                _replace_index(folder, staging, uri)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _replace_index(folder: Path, staging: Path, uri: str) -> None:
    """Moves a finished index into the folder, replacing what is there."""
    new, old = read_index(staging), _read_older_index(folder)
    for segment in new["segments"]:
        (staging / segment["name"]).replace(folder / segment["name"])
    if uri:
        new["facts"]["milvus"]["uri"] = uri
    write_index_contents(folder, new)
    remove_unnamed_files(folder)
    if old is not None:
        _drop_collection(old["facts"], folder)


def _read_older_index(folder: Path) -> dict[str, Any] | None:
    """The contents of an older index; None where there is none, or it is damaged."""
    try:
        return read_index(folder)
    except GalleryError:
        return None


def _drop_collection(facts: dict[str, Any], folder: Path) -> None:
    """Deletes the Milvus collection of an index, if it has one; it stays where no server answers."""
    location = facts.get("milvus")
    if location is None:
        return
    try:
        drop_milvus_collection(resolve_milvus_uri(location["uri"], folder), location["collection"])
    except GalleryError as error:
        print(f"the collection {location['collection']} was not deleted: {error.message}", file=sys.stderr)


def open_gallery(folder: Path | str, *, device: str = AUTO) -> Gallery:
    """The gallery in a folder.

    Args:
        folder: of the index.
        device: where exact search computes; the GPU where there is one.

    Raises:
        GalleryError: there is none, it is damaged, or its engine isn't installed or doesn't answer.
    """
    folder = Path(folder)
    if str(read_index(folder)["engine"]).startswith("milvus"):
        return MilvusGallery(folder)
    return FolderGallery(folder, resolve_device(device))


def parse_engine(spec: str) -> tuple[str, str]:
    """Engine and URI of what a user wrote; only Milvus has a URI.

    Raises:
        GalleryError: an unknown engine.
    """
    name, _, rest = spec.partition(":")
    if name.startswith("milvus") and name in GALLERY_ENGINES:
        return GALLERY_ENGINES[name], _parse_milvus_uri(rest)
    if spec not in GALLERY_ENGINES:
        raise GalleryError(
            f"unknown engine '{spec}'.{did_you_mean(spec, GALLERY_ENGINES)}",
            "One of: exact, faiss, faiss:hnsw, faiss:ivf, milvus:URI, milvus-hnsw:URI, milvus-ivf:URI",
        )
    return GALLERY_ENGINES[spec], ""


def _parse_milvus_uri(uri: str) -> str:
    if not uri:
        return MILVUS_FILE
    if "://" in uri:
        return uri
    if not uri.endswith(".db"):
        raise GalleryError(f"Milvus at '{uri}'", "Give http://HOST:PORT, or a file that ends in .db.")
    return str(Path(uri).absolute())


def _check_folder_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise GalleryError(f"{folder} is a file", "Choose another folder for the index with --out.")
    if (folder / INDEX_FILE).is_file():
        if not overwrite:
            raise GalleryError(
                f"{folder} already holds an index", "Start over: --overwrite    Elsewhere: --out"
            )
    elif any(
        not it.name.startswith((LOCK_FILE, "segment-", STAGING_PREFIX, MILVUS_FILE))
        for it in folder.iterdir()
    ):
        raise GalleryError(
            f"{folder} already holds something that is not an index", "Choose another with --out."
        )
