"""Images in tar shards, on disk or at URLs: read in place, front to back, never unpacked."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ssl_sbir.data.forward_reader import ForwardReader, describe_read_error, is_url
from ssl_sbir.data.tar_listing import ShardListing
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of

LARGEST_IMAGE = 32 << 20  # bytes of a file; several hundred are in memory at once while a pack is created
_KEY = re.compile(r"(?P<shard>.+?)#(?P<offset>\d+)\+(?P<size>\d+)/", re.DOTALL)


def format_shard_key(shard: str, offset: int, size: int, name: str) -> str:
    """The manifest's key of an image: its shard, offset and size in it, and its readable name."""
    return f"{shard}#{offset}+{size}/{name}"


@dataclass(frozen=True)
class InMemorySource:
    """Images whose bytes are in memory; for an unreadable one, the reason as text."""

    bytes_by_key: dict[str, bytes | str]

    def open(self, key: str, size: int) -> Image.Image:  # noqa: ARG002 - files have their own size
        """The image of a key, not decoded yet."""
        return _open_image_bytes(self.bytes_by_key[key])

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash of the keys: their bytes don't change."""
        return sha256_of(*keys)

    def path(self, key: str) -> Path | None:  # noqa: ARG002
        """None: nothing is on disk."""
        return None


@dataclass
class ShardSource:
    """Opens images of shards by the keys of `format_shard_key`.

    Attributes:
        listings: the images of each shard, by its name in keys.
    """

    listings: dict[str, ShardListing]
    _current_reader: tuple[str, ForwardReader] | None = None
    _broken: dict[str, str] = field(default_factory=dict)

    def open(self, key: str, size: int) -> Image.Image:  # noqa: ARG002
        """The image of a key, not decoded yet; from a URL only its own bytes are requested."""
        shard, offset, count = _parse_shard_key(key)
        try:
            with ForwardReader(self.listings[shard].location, offset) as reader:
                return _open_image_bytes(_read_image_bytes(reader, offset, count))
        except OSError as error:
            raise DataError(f"{shard}: {describe_read_error(error)}", "Is the shard still there?") from error

    def load_into_memory(self, keys: Sequence[str]) -> InMemorySource:
        """The bytes of some images, read in this order: as one stream where the keys follow each other in a shard.

        Only one thread may call it. A shard whose connection breaks twice at one image is abandoned for this
        source's lifetime: its images can't be opened, and the next run lists it again.
        """
        source = InMemorySource({key: self._load_image_bytes(key) for key in keys})
        if self._current_reader is not None and not self._is_worth_keeping(*self._current_reader):
            self._close_reader()
        return source

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash of the version marks of the shards that hold these images."""
        facts = (
            (name, self.listings[name]) for name in dict.fromkeys(_parse_shard_key(key)[0] for key in keys)
        )
        return sha256_of(*(part for name, it in facts for part in (name, it.version_mark, str(it.failures))))

    def path(self, key: str) -> Path | None:  # noqa: ARG002
        """None: an image in a shard has no file of its own."""
        return None

    def _load_image_bytes(self, key: str) -> bytes | str:
        shard, offset, count = _parse_shard_key(key)
        for again in (True, False):
            if shard in self._broken:
                break
            try:
                return _read_image_bytes(self._reader_at(shard, offset), offset, count)
            except OSError as error:
                self._close_reader()
                if not again:
                    self._mark_broken(shard, describe_read_error(error))
        return self._broken[shard]

    def _reader_at(self, shard: str, offset: int) -> ForwardReader:
        """A reader of a shard, at or before an offset; the open one if it can still reach it."""
        if self._current_reader is not None and (
            self._current_reader[0] != shard or self._current_reader[1].tell() > offset
        ):
            self._close_reader()
        if self._current_reader is None:
            self._current_reader = shard, ForwardReader(self.listings[shard].location, offset)
        return self._current_reader[1]

    def _is_worth_keeping(self, shard: str, reader: ForwardReader) -> bool:
        """Whether a reader has more images ahead and would be slow to open again."""
        listing = self.listings[shard]
        return is_url(listing.location) and reader.tell() <= listing.members[-1].offset

    def _close_reader(self) -> None:
        if self._current_reader is not None:
            self._current_reader[1].close()
        self._current_reader = None

    def _mark_broken(self, shard: str, why: str) -> None:
        listing = self.listings[shard]
        self._broken[shard] = f"{shard} broke off: {why}"
        if is_url(listing.location):
            listing.record_failure()


def _parse_shard_key(key: str) -> tuple[str, int, int]:
    parts = _KEY.match(key)
    assert parts is not None, f"no key of a shard: {key}"
    return parts["shard"], int(parts["offset"]), int(parts["size"])


def _read_image_bytes(reader: ForwardReader, offset: int, count: int) -> bytes | str:
    if count > LARGEST_IMAGE:
        return f"a file of {count >> 20:,} MB: refused"
    reader.seek(offset)
    content = reader.read(count)
    if len(content) < count:
        raise OSError("it ends too early")
    return content


def _open_image_bytes(content: bytes | str) -> Image.Image:
    if isinstance(content, str):
        raise DataError(content)
    if not content:
        raise DataError("the file is empty (0 bytes)")
    return Image.open(io.BytesIO(content))
