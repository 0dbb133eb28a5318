"""What a tar shard holds: its images by name, place and size, listed once from its headers and kept in the cache."""

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
LARGEST_SIDECAR = 1 << 16  # bytes of a class or a caption
SIDECAR_FIELDS = {".cls": "label", ".txt": "text"}


@dataclass
class ShardMember:
    """An image in a shard.

    Attributes:
        name: as the tar spells it; nothing is ever written under it.
        offset: where its bytes begin in the shard.
        size: how many they are.
        label: what the sample's `.cls` says; empty without one.
        text: what its `.txt` says; likewise.
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
        other_file_count: how many files in it are neither images nor notes on them.
        read_error: why the shard or the rest of it can't be read; empty where all is well.
        failures: how often its images couldn't be read although they were listed.
    """

    location: str
    version_mark: str = ""
    members: list[ShardMember] = field(default_factory=list)
    other_file_count: int = 0
    read_error: str = ""
    failures: int = 0

    def record_failure(self) -> None:
        """Notes in the cache that its images couldn't be read, so that the next run asks for them anew."""
        _cache_listing(replace(self, failures=self.failures + 1))


def list_shard(location: str) -> ShardListing:
    """What a shard holds, from its headers or, if they were read before and it hasn't changed, from the cache.

    A shard that breaks off keeps the images that lie whole before the break; one that can't be opened has none,
    unless its listing is in the cache. Never raises: `lost` has the reason.
    """
    kept = _read_cached_listing(location)
    try:
        with ForwardReader(location) as tape:
            if kept is not None and kept.version_mark == tape.version_mark and tape.version_mark:
                return kept
            return _list_from_headers(location, tape)
    except OSError as error:
        return (
            kept
            if kept is not None and is_url(location)
            else ShardListing(location, read_error=describe_read_error(error))
        )


def _list_from_headers(place: str, tape: ForwardReader) -> ShardListing:
    found, lost, failed = _MemberCollector(), "", False
    try:
        for entry, content in _iter_tar_entries(tape):
            found.add(entry, content)
    except Exception as error:  # a hostile header makes tarfile raise nearly anything, even RecursionError
        lost, failed = (
            _describe_tar_error(tape, error),
            isinstance(error, OSError) and not isinstance(error, tarfile.TarError),
        )
    listing = ShardListing(
        place, tape.version_mark or str(time.time_ns()), found.members, found.other_file_count, lost
    )
    if not failed:  # what a connection lost may be there next time
        _cache_listing(listing)
    return listing


class _MemberCollector:
    """Images as they come, each with the notes of its sample: files that lie side by side under one name."""

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


def _iter_tar_entries(tape: ForwardReader) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Plain files that lie whole in a tar, each with its bytes if it is a note.

    Raises:
        tarfile.TarError: the tar breaks off, after the last whole file.
    """
    with tarfile.open(fileobj=tape, mode="r:") as tar:  # type: ignore[call-overload]
        while (entry := tar.next()) is not None:
            tar.members = []  # or it would keep them all
            if not entry.isreg() or entry.issparse() or entry.size < 0:
                continue
            wanted = (
                PurePosixPath(entry.name).suffix.lower() in SIDECAR_FIELDS and entry.size <= LARGEST_SIDECAR
            )
            content = b""
            if wanted:
                tape.seek(entry.offset_data)
                content = tape.read(entry.size)
            elif entry.size:
                tape.seek(entry.offset_data + entry.size - 1)
                content = tape.read(1)
            if entry.size and not content:
                raise tarfile.ReadError("it breaks off")
            yield entry, content if wanted else b""
    if (
        tape.last_read.strip(b"\0") or not tape.last_read
    ):  # tarfile takes a bad header, and no more bytes, for the end
        raise tarfile.ReadError("it breaks off: the mark of a tar's end is missing")


def _describe_tar_error(tape: ForwardReader, error: Exception) -> str:
    if tape.last_read[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7"):
        return "it is compressed: store it as a plain tar"
    return describe_read_error(error)


def _listing_cache_file(place: str) -> Path:
    known = str(Path(place).absolute()) if is_existing_file(place) else place
    return cache_dir() / "shards" / f"{sha256_of('shard', SHARD_LISTING_VERSION, known)[:32]}.json"


def _read_cached_listing(place: str) -> ShardListing | None:
    try:
        facts = json.loads(_listing_cache_file(place).read_text("utf-8"))
        return ShardListing(**{**facts, "members": [ShardMember(*row) for row in facts["members"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cache_listing(listing: ShardListing) -> None:
    rows = [(it.name, it.offset, it.size, it.label, it.text) for it in listing.members]
    write_atomic(_listing_cache_file(listing.location), json.dumps({**vars(listing), "members": rows}))
