"""A file read from front to back, on disk or at a URL."""

import http.client
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

NETWORK_TIMEOUT_SECONDS = 20.0  # without a byte from a server
LARGEST_READ = 64 << 20  # bytes at once; a header that asks for more is broken or malicious
_SKIP_CHUNK_BYTES = 1 << 20


def is_url(location: str) -> bool:
    """Whether a location is a URL."""
    return "://" in location


class ForwardReader:
    """The bytes of a file from an offset on. It only moves forward, so that it works on a stream.

    Attributes:
        version_mark: changes when the file does: size and time on disk, or the server's ETag and Last-Modified.
        last_read: the bytes that were read last.
    """

    def __init__(self, location: str, offset: int = 0) -> None:
        """Opens a path or an http(s) URL.

        Raises:
            OSError: it can't be opened; the message says why.
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
        """The offset of the next byte."""
        return self._offset

    def seek(self, offset: int) -> None:
        """Moves forward to an offset.

        Raises:
            OSError: it was passed already, or the connection breaks.
        """
        if offset < self._offset:
            raise OSError("a file is only read forward")
        if self._is_on_disk:
            self._file.seek(offset)
        else:
            self._skip_bytes(offset - self._offset)
        self._offset = offset

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end of the file.

        Raises:
            OSError: there are too many, or the connection breaks.
        """
        if not 0 <= count <= LARGEST_READ:
            raise OSError(f"{count:,} bytes at once: refused")
        self.last_read = self._read_bytes(count)
        self._offset += len(self.last_read)
        return self.last_read

    def close(self) -> None:
        """Releases the file or the connection."""
        self._file.close()

    def _skip_bytes(self, count: int) -> None:
        while count > 0:
            skipped = len(self._read_bytes(min(count, _SKIP_CHUNK_BYTES)))
            if not skipped:
                return  # past the end: the next read says so
            count -= skipped

    def _read_bytes(self, count: int) -> bytes:
        try:
            content = self._file.read(count)
        except http.client.HTTPException as error:
            raise OSError(f"the connection broke ({type(error).__name__})") from error
        if len(content) < count and getattr(
            self._file, "length", None
        ):  # bytes that the server had announced
            raise OSError("the connection broke")
        return content


def describe_read_error(error: BaseException) -> str:
    """Why something couldn't be read, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return describe_read_error(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    if isinstance(error, TimeoutError):
        return f"no answer for {NETWORK_TIMEOUT_SECONDS:.0f} s"
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or " ".join(str(error).split()) or type(error).__name__


def _request_url(url: str, offset: int) -> tuple[io.BufferedIOBase, str, int]:
    """A connection, the file's version mark, and the offset in the file at which the connection begins."""
    headers = {"User-Agent": "ssl-sbir"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise OSError(f"'{urlsplit(url).scheme}' is no http or https")
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=NETWORK_TIMEOUT_SECONDS
        )
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"not a valid URL ({error})") from error
    marks = (response.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    return response, " ".join(marks).strip(), offset if response.status == 206 else 0


def is_existing_file(location: str) -> bool:
    """Whether a location is an existing file on disk."""
    return not is_url(location) and Path(location).is_file()
