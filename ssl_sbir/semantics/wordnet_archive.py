"""The official archive of WordNet 3.0 as a source of its noun files: read in place, never unpacked."""

import bz2
import gzip
import re
import tarfile
import zlib
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from ssl_sbir.errors import DataError
from ssl_sbir.files import atomic_folder
from ssl_sbir.semantics.wordnet import WordNetNouns
from ssl_sbir.semantics.wordnet_files import (
    NOUN_DATA_FILE,
    NOUN_INDEX_FILE,
    WORDNET_ARCHIVE_URL,
    converted_wordnet_folder,
    forget_loaded_nouns,
    parse_nouns,
)

MAX_MEMBER_BYTES = 64 << 20  # data.noun of WordNet 3.0 has 15 MB
MAX_ARCHIVE_BYTES = 512 << 20  # unpacked; WordNet 3.0 has 50 MB
_DOWNLOAD_HINT = f"Download {WORDNET_ARCHIVE_URL} and name that file."
_DECOMPRESSORS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}
_RELEASE = re.compile(r"WordNet (\d[\d.]*) Copyright")


def convert_wordnet_archive(path: Path) -> WordNetNouns:
    """The nouns of an archive, whose files are now in the cache, where `load_nouns` finds them.

    Args:
        path: `WordNet-3.0.tar.gz`, `.tar.bz2` or the same uncompressed.

    Raises:
        DataError: it is no tar archive, holds no WordNet, another release than 3.0, or damaged files.
    """
    texts = _read_noun_files(path)
    _check_archive_release(path, texts[NOUN_DATA_FILE])
    data_lines, index_lines = (StringIO(texts[name]) for name in (NOUN_DATA_FILE, NOUN_INDEX_FILE))
    nouns = parse_nouns(data_lines, index_lines, f"{path}: ")
    with atomic_folder(converted_wordnet_folder()) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
    forget_loaded_nouns()
    return nouns


def _read_noun_files(path: Path) -> dict[str, str]:
    """Both files' texts by name."""
    try:
        with open(path, "rb") as file:
            magic = file.read(2)
            file.seek(0)
            stream = _DECOMPRESSORS[magic](file) if magic in _DECOMPRESSORS else file
            members = _read_members(_LimitedReader(stream))
        texts = {name: content.decode("utf-8") for name, content in members.items()}
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"{path} can't be read as a tar archive: {cause}", _DOWNLOAD_HINT) from error
    for name in (NOUN_DATA_FILE, NOUN_INDEX_FILE):
        if name not in texts:
            raise DataError(f"{path} has no dict/{name}: it isn't WordNet's archive", _DOWNLOAD_HINT)
    return texts


def _read_members(stream: "_LimitedReader") -> dict[str, bytes]:
    """The contents of the noun files; links and other special members are passed over."""
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
        for member in archive:
            *_, folder, name = ("", *PurePosixPath(member.name).parts)
            if not member.isreg() or folder != "dict" or name not in (NOUN_DATA_FILE, NOUN_INDEX_FILE):
                continue
            if member.size > MAX_MEMBER_BYTES:
                raise ValueError(f"{member.name} has {member.size:,} bytes")
            contents[name] = archive.extractfile(member).read(MAX_MEMBER_BYTES)  # type: ignore[union-attr]
    return contents


class _LimitedReader:
    """A stream that ends in an error after `MAX_ARCHIVE_BYTES`, however small the compressed file is."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, MAX_ARCHIVE_BYTES

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more than {MAX_ARCHIVE_BYTES >> 20} MB unpacked")
        return data


def _check_archive_release(path: Path, data: str) -> None:
    """Names the release in the licence at the top of `data.noun` where it isn't 3.0."""
    release = _RELEASE.search(data[:4096])
    if release and release[1] != "3.0":
        raise DataError(f"{path} holds WordNet {release[1]}, not 3.0", _DOWNLOAD_HINT)
