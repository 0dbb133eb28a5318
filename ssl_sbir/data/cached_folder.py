"""Folders of the cache that are expensive to fill: opened where they are whole, else created by one process."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from ssl_sbir.files import hold_file_lock


@runtime_checkable
class KeyedContent(Protocol):
    """What a cache folder holds, with the hash of everything it depends on."""

    key: str


ContentT = TypeVar("ContentT", bound=KeyedContent)


def open_or_create(
    content_type: Callable[[Path], ContentT], folder: Path, key: str, create: Callable[[], ContentT]
) -> ContentT:
    """The content of a cache folder, created if it isn't there; two processes that ask for it wait for each other.

    Args:
        content_type: opens a folder.
        folder: where the content lies.
        key: the key that it must have.
        create: fills the folder and opens it.
    """
    content = open_cached(content_type, folder, key)
    if content is not None:
        return content
    with hold_file_lock(folder):
        content = open_cached(content_type, folder, key)
        return create() if content is None else content


def open_cached(content_type: Callable[[Path], ContentT], folder: Path, key: str) -> ContentT | None:
    """The content of a cache folder, or None if it is missing or damaged, or has another key."""
    try:
        content = content_type(folder)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, RuntimeError):
        return None
    return content if content.key == key else None
