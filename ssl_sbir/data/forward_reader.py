"""A file that is read from front to back, on disk or behind a URL."""

import http.client
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

NETWORK_TIMEOUT_SECONDS = 20.0  # without a byte from a server
LARGEST_READ = 64 << 20  # bytes at once: a header that asks for more is broken or means harm
_SKIP_CHUNK_BYTES = 1 << 20


def is_url(location: str) -> bool:
    """Whether a place is behind a network."""
    return "://" in location


class ForwardReader:
    """The bytes of a file from a place on. It only winds forward, so that it works on a stream.

    Attributes:
        version_mark: changes when the file does: size and time on disk, what the server says of it elsewhere.
        last_read: what was read last.
    """

    def __init__(self, location: str, offset: int = 0) -> None:
        """Opens a path or an http(s) URL.

        Raises:
            OSError: it can't be opened; the message is the reason.
        """
        self.last_read = b""
        self._offset = offset
        self._file: io.BufferedIOBase
        if is_url(location):
            self._file, self.version_mark, begins = _request_url(location, offset)
            self._skip_bytes(offset - begins)
        else:
            self._file = open(location, "rb")  # noqa: SIM115 - closed by `close`
            facts = os.fstat(self._file.fileno())
            self.version_mark = f"{facts.st_size} {facts.st_mtime_ns}"
            self._file.seek(offset)
        self._is_on_disk = not is_url(location)

    def __enter__(self) -> "ForwardReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self) -> int:
        """Where the next byte lies in the file."""
        return self._offset

    def seek(self, offset: int) -> None:
        """Winds forward to a place.

        Raises:
            OSError: it lies behind, or the connection breaks.
        """
        if offset < self._offset:
            raise OSError("a tape only winds forward")
        if self._is_on_disk:
            self._file.seek(offset)
        else:
            self._skip_bytes(offset - self._offset)
        self._offset = offset

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end of the file.

        Raises:
            OSError: they are too many, or the connection breaks.
        """
        if not 0 <= count <= LARGEST_READ:
            raise OSError(f"{count:,} bytes at once: refused")
        self.last_read = self._read_bytes(count)
        self._offset += len(self.last_read)
        return self.last_read

    def close(self) -> None:
        """Lets go of the file or the connection."""
        self._file.close()

    def _skip_bytes(self, count: int) -> None:
        while count > 0:
            passed = len(self._read_bytes(min(count, _SKIP_CHUNK_BYTES)))
            if not passed:
                return  # behind the end: the next read says so
            count -= passed

    def _read_bytes(self, count: int) -> bytes:
        try:
            found = self._file.read(count)
        except http.client.HTTPException as error:
            raise OSError(f"the connection broke off ({type(error).__name__})") from error
        if len(found) < count and getattr(self._file, "length", None):  # bytes that the server had announced
            raise OSError("the connection broke off")
        return found


def describe_read_error(error: BaseException) -> str:
    """Why something couldn't be read, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return describe_read_error(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    if isinstance(error, TimeoutError):
        return f"no answer for {NETWORK_TIMEOUT_SECONDS:.0f} s"
    told = error.strerror if isinstance(error, OSError) else None
    return told or " ".join(str(error).split()) or type(error).__name__


def _request_url(url: str, at: int) -> tuple[io.BufferedIOBase, str, int]:
    """A connection, the file's mark, and where in the file its bytes begin."""
    headers = {"User-Agent": "ssl-sbir"} | ({"Range": f"bytes={at}-"} if at else {})
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise OSError(f"'{urlsplit(url).scheme}' is no http or https")
        answer = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=NETWORK_TIMEOUT_SECONDS
        )
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"not a URL that can be asked for ({error})") from error
    told = (answer.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    return answer, " ".join(told).strip(), at if answer.status == 206 else 0


def is_existing_file(location: str) -> bool:
    """Whether a file lies at a place on disk."""
    return not is_url(location) and Path(location).is_file()
