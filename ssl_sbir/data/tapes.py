"""A file that is read from front to back, on disk or behind a URL."""

import http.client
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = 20.0  # without a byte from a server
LARGEST_READ = 64 << 20  # bytes at once: a header that asks for more is broken or means harm
_SKIP = 1 << 20


def is_url(place: str) -> bool:
    """Whether a place is behind a network."""
    return "://" in place


class Tape:
    """The bytes of a file from a place on. It only winds forward, so that it works on a stream.

    Attributes:
        mark: changes when the file does: size and time on disk, what the server says of it elsewhere.
        last: what was read last.
    """

    def __init__(self, place: str, at: int = 0) -> None:
        """Opens a path or an http(s) URL.

        Raises:
            OSError: it can't be opened; the message is the reason.
        """
        self.last = b""
        self._at = at
        self._file: io.BufferedIOBase
        if is_url(place):
            self._file, self.mark, begins = _requested(place, at)
            self._wind(at - begins)
        else:
            self._file = open(place, "rb")  # noqa: SIM115 - closed by `close`
            facts = os.fstat(self._file.fileno())
            self.mark = f"{facts.st_size} {facts.st_mtime_ns}"
            self._file.seek(at)
        self._disk = not is_url(place)

    def __enter__(self) -> "Tape":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self) -> int:
        """Where the next byte lies in the file."""
        return self._at

    def seek(self, place: int) -> None:
        """Winds forward to a place.

        Raises:
            OSError: it lies behind, or the connection breaks.
        """
        if place < self._at:
            raise OSError("a tape only winds forward")
        if self._disk:
            self._file.seek(place)
        else:
            self._wind(place - self._at)
        self._at = place

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end of the file.

        Raises:
            OSError: they are too many, or the connection breaks.
        """
        if not 0 <= count <= LARGEST_READ:
            raise OSError(f"{count:,} bytes at once: refused")
        self.last = self._read(count)
        self._at += len(self.last)
        return self.last

    def close(self) -> None:
        """Lets go of the file or the connection."""
        self._file.close()

    def _wind(self, count: int) -> None:
        while count > 0:
            passed = len(self._read(min(count, _SKIP)))
            if not passed:
                return  # behind the end: the next read says so
            count -= passed

    def _read(self, count: int) -> bytes:
        try:
            found = self._file.read(count)
        except http.client.HTTPException as error:
            raise OSError(f"the connection broke off ({type(error).__name__})") from error
        if len(found) < count and getattr(self._file, "length", None):  # bytes that the server had announced
            raise OSError("the connection broke off")
        return found


def reason(error: BaseException) -> str:
    """Why something couldn't be read, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return reason(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    if isinstance(error, TimeoutError):
        return f"no answer for {SECONDS:.0f} s"
    told = error.strerror if isinstance(error, OSError) else None
    return told or " ".join(str(error).split()) or type(error).__name__


def _requested(url: str, at: int) -> tuple[io.BufferedIOBase, str, int]:
    """A connection, the file's mark, and where in the file its bytes begin."""
    headers = {"User-Agent": "ssl-sbir"} | ({"Range": f"bytes={at}-"} if at else {})
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise OSError(f"'{urlsplit(url).scheme}' is no http or https")
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"not a URL that can be asked for ({error})") from error
    told = (answer.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    return answer, " ".join(told).strip(), at if answer.status == 206 else 0


def existing(place: str) -> bool:
    """Whether a file lies at a place on disk."""
    return not is_url(place) and Path(place).is_file()
