"""Atomic writes of files and folders, content hashes, and the cache folder."""

import hashlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from filelock import BaseFileLock, FileLock
from safetensors import SafetensorError

from ssl_sbir.errors import SslSbirError

SILENT_WAIT_SECONDS = 2.0  # before a limited wait for a lock is announced


def write_atomic(path: Path, content: str | bytes) -> None:
    """Writes a temporary file and renames it to `path`, so that no reader ever sees half of it.

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
    """Yields a temporary folder that is renamed to `path` when the block succeeds, and removed otherwise.

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
    """Turns the errors of a full disk or a protected folder into one that names the path.

    Raises:
        SslSbirError: names the path.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from error


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def make_folder(path: Path) -> None:
    """Makes a folder if it doesn't exist.

    Raises:
        SslSbirError: it can't be written, or a file is in the way.
    """
    with translate_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def hold_file_lock(path: Path, wait: float | None = None) -> Iterator[None]:
    """Holds the lock of `path` between processes; waits for it, and makes the folder above first.

    Args:
        path: what the lock protects; the lock file has the suffix `.lock`.
        wait: seconds to wait at most; None waits without limit and says nothing.

    Raises:
        SslSbirError: the folder can't be written.
        TimeoutError: another process holds the lock for longer than `wait`.
    """
    make_folder(path.parent)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        _acquire_lock(lock, path.parent, wait)
    except TimeoutError:
        raise
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _acquire_lock(lock: BaseFileLock, folder: Path, wait: float | None) -> None:
    if wait is None or wait <= SILENT_WAIT_SECONDS:
        lock.acquire(timeout=-1 if wait is None else wait)
        return
    try:
        lock.acquire(timeout=SILENT_WAIT_SECONDS)
    except TimeoutError:
        print(f"waiting up to {wait:g} s for another process that writes {folder}", file=sys.stderr)
        lock.acquire(timeout=wait - SILENT_WAIT_SECONDS)


@contextmanager
def resumable_folder(path: Path) -> Iterator[Path]:
    """Yields a folder that is renamed to `path` when the block succeeds, and kept for the next call otherwise.

    For long computations: the block finds the files of an interrupted one and continues them (`resumable_array`). After
    a write error, such as a full disk, it is removed. The caller holds a lock, because the folder's name is fixed.

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
    """A `.npy` file of bytes, open for appending, and the number of items it already holds.

    Written rather than memory-mapped: a full disk then raises an error instead of a bus error.

    Args:
        file: its path.
        shape: shape of the whole array; the first axis counts items.
        chunk_size: items written at a time; an incomplete chunk is cut off.
    """
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start, chunk_bytes = header.tell(), chunk_size * math.prod(shape[1:])
    file.touch()
    with open(file, "r+b") as out:
        if out.read(start) != header.getvalue():
            out.seek(0)
            out.write(header.getvalue())
            out.truncate()
        chunks = (out.seek(0, os.SEEK_END) - start) // chunk_bytes
        out.truncate(out.seek(start + chunks * chunk_bytes))
        yield out, min(chunks * chunk_size, shape[0])


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
    """The error that says why a path can't be written, and what to do about it."""
    return SslSbirError(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error}",
        "Free some space or choose another folder (--out, or SSL_SBIR_CACHE for caches).",
    )


def sha256_of(*parts: str | bytes) -> str:
    """The hex sha256 of a list of parts; each is preceded by its length, so that different lists differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The hex sha256 of a file; cached until its size or time changes."""
    facts = path.stat()
    return _file_sha256(path.resolve(), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _file_sha256(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 (cache keys)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """The folder for packs, embeddings and converted weights: `SSL_SBIR_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("SSL_SBIR_CACHE") or platformdirs.user_cache_dir("ssl-sbir", appauthor=False))
