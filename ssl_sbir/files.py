"""Files that are whole or absent: atomic writes, content hashes and the cache folder."""

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from filelock import FileLock
from safetensors import SafetensorError

from ssl_sbir.errors import SslSbirError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a file beside its place and renames it, so that no reader ever sees half of it.

    Raises:
        SslSbirError: the disk is full or the folder can't be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise write_error(path, error) from error


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a folder beside `hypernym_path` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        SslSbirError: the disk is full or the folder can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with _move_when_done(path, temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turns what a full disk or a forbidden place raise into one named cause.

    Raises:
        SslSbirError: names the path.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from error


def is_file(path: Path) -> bool:
    """Whether there is such a file; not so where no file can have that name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def make_folder(path: Path) -> None:
    """Makes a folder where there is none.

    Raises:
        SslSbirError: it can't be written, or something else lies there.
    """
    with translate_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def hold_file_lock(path: Path) -> Iterator[None]:
    """Waits until no other process makes what is to lie at `hypernym_path`, whose folder is made first.

    Raises:
        SslSbirError: the folder can't be written.
    """
    make_folder(path.parent)
    lock = FileLock(path.with_suffix(".lock"))
    with translate_write_errors(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def resumable_folder(path: Path) -> Iterator[Path]:
    """Yields a folder beside `hypernym_path` that takes its place when the block ends well, and stays otherwise.

    For what takes long: the block finds what an interrupted one left and goes on from there (`resumable_array`). A full
    disk leaves nothing. Whoever calls holds a lock, for the folder is always the same.

    Raises:
        SslSbirError: the disk is full or the folder can't be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    with _move_when_done(path, unfinished):
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            yield unfinished
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


@contextmanager
def resumable_array(file: Path, shape: tuple[int, ...], chunk_size: int) -> Iterator[tuple[BinaryIO, int]]:
    """A `.npy` file of bytes, open for writing after what it holds already, and how many of its items those are.

    Written, not mapped: a full disk is then an error to report and not a bus error.

    Args:
        file: its path.
        shape: of the whole array, the first side counting items.
        chunk_size: items are written by so many at a time; of an interrupted writing, whole lots are kept.
    """
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    begins, lot = header.tell(), chunk_size * math.prod(shape[1:])
    file.touch()
    with open(file, "r+b") as out:
        if out.read(begins) != header.getvalue():
            out.seek(0)
            out.write(header.getvalue())
            out.truncate()
        whole = (out.seek(0, os.SEEK_END) - begins) // lot
        out.truncate(out.seek(begins + whole * lot))
        yield out, min(whole * chunk_size, shape[0])


@contextmanager
def _move_when_done(path: Path, folder: Path) -> Iterator[None]:
    with translate_write_errors(path):
        yield
        os.chmod(folder, 0o755)
        _replace_folder(folder, path)


def _replace_folder(new: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def write_error(path: Path, error: OSError | SafetensorError) -> SslSbirError:
    """Says why a path can't be written, and what to do about it."""
    return SslSbirError(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
        "Free some space or choose another folder (--out, or SSL_SBIR_CACHE for caches).",
    )


def sha256_of(*parts: str | bytes) -> str:
    """The hex sha256 of some parts, each preceded by its length so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The hex sha256 of a file, read once as long as it doesn't change."""
    facts = path.stat()
    return _file_sha256(path.resolve(), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_sha256(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 (they tell one content from another)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """The folder of packs, embeddings and converted weights: `SSL_SBIR_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("SSL_SBIR_CACHE") or platformdirs.user_cache_dir("ssl-sbir", appauthor=False))
