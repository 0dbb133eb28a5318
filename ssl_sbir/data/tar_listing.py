"""The images of a tar shard by name, offset and size, listed once from its headers and then cached."""

import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.forward_reader import ForwardReader, describe_read_error, is_existing_file, is_url
from ssl_sbir.data.image_folders import is_image_name
from ssl_sbir.files import cache_dir, sha256_of, write_atomic

SHARD_LISTING_VERSION = "1"
LARGEST_SIDECAR = 1 << 16  # bytes of a class name or a caption
SIDECAR_FIELDS = {".cls": "label", ".txt": "text"}


@dataclass
class ShardMember:
    """An image in a shard.

    Attributes:
        name: as in the tar; no file of that name is ever written.
        offset: of its first byte in the shard.
        size: in bytes.
        label: the content of the sample's `.cls` file; empty without one.
        text: the content of its `.txt` file; empty without one.
    """

    name: str
    offset: int
    size: int
    label: str = ""
    text: str = ""


@dataclass(frozen=True)
class ShardListing:
    """A shard's images.

    Attributes:
        location: path or URL.
        version_mark: changes when the shard does.
        members: its images, in order.
        other_file_count: number of files that are neither images nor their labels and captions.
        read_error: why the shard or its rest can't be read; empty if all of it can.
        failures: how often its listed images couldn't be read.
    """

    location: str
    version_mark: str = ""
    members: list[ShardMember] = field(default_factory=list)
    other_file_count: int = 0
    read_error: str = ""
    failures: int = 0

    def record_failure(self) -> None:
        """Records in the cache that its images couldn't be read, so that the next run reads them again."""
        _cache_listing(replace(self, failures=self.failures + 1))


def list_shard(location: str) -> ShardListing:
    """The images of a shard, from the cache if the shard hasn't changed since it was listed, else from its headers.

    A truncated shard keeps its complete images; one that can't be opened has none, unless its listing is in the
    cache. Never raises: `read_error` has the reason.
    """
    cached = _read_cached_listing(location)
    try:
        with ForwardReader(location) as reader:
            if cached is not None and cached.version_mark == reader.version_mark and reader.version_mark:
                return cached
            return _list_from_headers(location, reader)
    except OSError as error:
        if cached is not None and is_url(location):
            return cached
        return ShardListing(location, read_error=describe_read_error(error))


def _list_from_headers(location: str, reader: ForwardReader) -> ShardListing:
    collector, read_error, connection_lost = _MemberCollector(), "", False
    try:
        for entry, content in _iter_tar_entries(reader):
            collector.add(entry, content)
    except Exception as error:  # for a hostile header tarfile raises nearly anything, even RecursionError
        read_error = _describe_tar_error(reader, error)
        connection_lost = isinstance(error, OSError) and not isinstance(error, tarfile.TarError)
    mark = reader.version_mark or str(time.time_ns())
    listing = ShardListing(location, mark, collector.members, collector.other_file_count, read_error)
    if not connection_lost:  # else the rest may be readable next time
        _cache_listing(listing)
    return listing


class _MemberCollector:
    """Collects images with the label and caption of their sample: consecutive files with the same stem."""

    def __init__(self) -> None:
        self.members: list[ShardMember] = []
        self.other_file_count = 0
        self._sample, self._notes, self._first = "", dict[str, str](), 0

    def add(self, entry: tarfile.TarInfo, content: bytes) -> None:
        path = PurePosixPath(entry.name)
        sample, kind = f"{path.parent}/{path.name.partition('.')[0]}", path.suffix.lower()
        if sample != self._sample:
            self._sample, self._notes, self._first = sample, {}, len(self.members)
        if is_image_name(entry.name):
            self.members.append(ShardMember(entry.name, entry.offset_data, entry.size, **self._notes))
        elif kind in SIDECAR_FIELDS:
            self._notes[SIDECAR_FIELDS[kind]] = note = printable_name(
                content.decode("utf-8", "replace").strip()
            )
            for member in self.members[self._first :]:
                setattr(member, SIDECAR_FIELDS[kind], note)
        else:
            self.other_file_count += kind != ".json"


def _iter_tar_entries(reader: ForwardReader) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Regular files that are complete in a tar, each with its bytes if it is a label or caption.

    Raises:
        tarfile.TarError: the tar is truncated; raised after the last complete file.
    """
    with tarfile.open(fileobj=reader, mode="r:") as tar:  # type: ignore[call-overload]
        while (entry := tar.next()) is not None:
            tar.members = []  # else it would keep all of them in memory
            if not entry.isreg() or entry.issparse() or entry.size < 0:
                continue
            wanted = (
                PurePosixPath(entry.name).suffix.lower() in SIDECAR_FIELDS and entry.size <= LARGEST_SIDECAR
            )
            content = b""
            if wanted:
                reader.seek(entry.offset_data)
                content = reader.read(entry.size)
            elif entry.size:
                reader.seek(entry.offset_data + entry.size - 1)
                content = reader.read(1)
            if entry.size and not content:
                raise tarfile.ReadError("it breaks off")
            yield entry, content if wanted else b""
    # tarfile takes a bad header, or the lack of more bytes, for the end.
    if reader.last_read.strip(b"\0") or not reader.last_read:
        raise tarfile.ReadError("it breaks off: the mark of a tar's end is missing")


def _describe_tar_error(reader: ForwardReader, error: Exception) -> str:
    if reader.last_read[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7"):
        return "it is compressed: store it as a plain tar"
    return describe_read_error(error)


def _listing_cache_file(location: str) -> Path:
    full = str(Path(location).absolute()) if is_existing_file(location) else location
    return cache_dir() / "shards" / f"{sha256_of('shard', SHARD_LISTING_VERSION, full)[:32]}.json"


def _read_cached_listing(location: str) -> ShardListing | None:
    try:
        facts = json.loads(_listing_cache_file(location).read_text("utf-8"))
        return ShardListing(**{**facts, "members": [ShardMember(*row) for row in facts["members"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cache_listing(listing: ShardListing) -> None:
    rows = [(it.name, it.offset, it.size, it.label, it.text) for it in listing.members]
    write_atomic(_listing_cache_file(listing.location), json.dumps({**vars(listing), "members": rows}))
