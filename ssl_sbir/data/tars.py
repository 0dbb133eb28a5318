"""What a tar shard holds: its images by name, place and size, listed once from its headers and kept in the cache."""

import json
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ssl_sbir.data.names import printable
from ssl_sbir.data.tapes import Tape, existing, is_url, reason
from ssl_sbir.data.trees import is_image_name
from ssl_sbir.files import cache_dir, sha256_of, write_atomic

VERSION = "1"
LARGEST_NOTE = 1 << 16  # bytes of a class or a caption
NOTES = {".cls": "label", ".txt": "text"}


@dataclass
class Member:
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
class Listing:
    """A shard's images.

    Attributes:
        place: path or URL.
        mark: changes when the shard does.
        members: its images, in order.
        others: how many files in it are neither images nor notes on them.
        lost: why the shard or the rest of it can't be read; empty where all is well.
        failures: how often its images couldn't be read although they were listed.
    """

    place: str
    mark: str = ""
    members: list[Member] = field(default_factory=list)
    others: int = 0
    lost: str = ""
    failures: int = 0

    def failed(self) -> None:
        """Notes in the cache that its images couldn't be read, so that the next run asks for them anew."""
        _keep(replace(self, failures=self.failures + 1))


def listed(place: str) -> Listing:
    """What a shard holds, from its headers or, if they were read before and it hasn't changed, from the cache.

    A shard that breaks off keeps the images that lie whole before the break; one that can't be opened has none,
    unless its listing is in the cache. Never raises: `lost` has the reason.
    """
    kept = _kept(place)
    try:
        with Tape(place) as tape:
            if kept is not None and kept.mark == tape.mark and tape.mark:
                return kept
            return _read(place, tape)
    except OSError as error:
        return kept if kept is not None and is_url(place) else Listing(place, lost=reason(error))


def _read(place: str, tape: Tape) -> Listing:
    found, lost, failed = _Members(), "", False
    try:
        for entry, content in _entries(tape):
            found.add(entry, content)
    except Exception as error:  # a hostile header makes tarfile raise nearly anything, even RecursionError
        lost, failed = (
            _why(tape, error),
            isinstance(error, OSError) and not isinstance(error, tarfile.TarError),
        )
    listing = Listing(place, tape.mark or str(time.time_ns()), found.members, found.others, lost)
    if not failed:  # what a connection lost may be there next time
        _keep(listing)
    return listing


class _Members:
    """Images as they come, each with the notes of its sample: files that lie side by side under one name."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.others = 0
        self._sample, self._notes, self._first = "", dict[str, str](), 0

    def add(self, entry: tarfile.TarInfo, content: bytes) -> None:
        path = PurePosixPath(entry.name)
        sample, kind = f"{path.parent}/{path.name.partition('.')[0]}", path.suffix.lower()
        if sample != self._sample:
            self._sample, self._notes, self._first = sample, {}, len(self.members)
        if is_image_name(entry.name):
            self.members.append(Member(entry.name, entry.offset_data, entry.size, **self._notes))
        elif kind in NOTES:
            self._notes[NOTES[kind]] = note = printable(content.decode("utf-8", "replace").strip())
            for member in self.members[self._first :]:
                setattr(member, NOTES[kind], note)
        else:
            self.others += kind != ".json"


def _entries(tape: Tape) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Plain files that lie whole in a tar, each with its bytes if it is a note.

    Raises:
        tarfile.TarError: the tar breaks off, after the last whole file.
    """
    with tarfile.open(fileobj=tape, mode="r:") as tar:  # type: ignore[call-overload]
        while (entry := tar.next()) is not None:
            tar.members = []  # or it would keep them all
            if not entry.isreg() or entry.issparse() or entry.size < 0:
                continue
            wanted = PurePosixPath(entry.name).suffix.lower() in NOTES and entry.size <= LARGEST_NOTE
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
    if tape.last.strip(b"\0") or not tape.last:  # tarfile takes a bad header, and no more bytes, for the end
        raise tarfile.ReadError("it breaks off: the mark of a tar's end is missing")


def _why(tape: Tape, error: Exception) -> str:
    if tape.last[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7"):
        return "it is compressed: store it as a plain tar"
    return reason(error)


def _file(place: str) -> Path:
    known = str(Path(place).absolute()) if existing(place) else place
    return cache_dir() / "shards" / f"{sha256_of('shard', VERSION, known)[:32]}.json"


def _kept(place: str) -> Listing | None:
    try:
        facts = json.loads(_file(place).read_text("utf-8"))
        return Listing(**{**facts, "members": [Member(*row) for row in facts["members"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(listing: Listing) -> None:
    rows = [(it.name, it.offset, it.size, it.label, it.text) for it in listing.members]
    write_atomic(_file(listing.place), json.dumps({**vars(listing), "members": rows}))
