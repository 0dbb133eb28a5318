"""Readers of data sets, one file per kind of data; `open_data` calls the right one."""

import inspect
import os
from typing import Any

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import folder, openmoji, quickdraw, shards, sketchy, tuberlin
from ssl_sbir.data.readers.data_kinds import READERS, Reader
from ssl_sbir.errors import DataError
from ssl_sbir.registry import did_you_mean

__all__ = [
    "READERS",
    "check_data_spec",
    "folder",
    "open_data",
    "openmoji",
    "parse_spec",
    "quickdraw",
    "shards",
    "sketchy",
    "tuberlin",
]


def open_data(spec: str, **options: Any) -> Manifest:
    """The manifest of a data set; reads names, never pixels.

    Args:
        spec: "KIND:PATH", a bare path (a folder of one's own), or a kind that needs no path ("openmoji").
        **options: the reader's keyword arguments, such as `photo_variant` for sketchy.

    Raises:
        ConfigError: unknown kind; suggests the closest.
        DataError: a missing folder, a wrong layout or an unknown option.
    """
    kind, path = parse_spec(spec)
    reader = READERS.get(kind)
    _check_options(kind, reader, options)
    return reader(spec, path, **options)


def parse_spec(spec: str) -> tuple[str, str]:
    """(kind, path) of a spec; the path is empty for a kind alone."""
    kind, colon, path = spec.partition(":")
    if colon and not os.path.isdir(spec):
        return kind, path
    if not colon and (spec in READERS.names() or _looks_like_a_kind(spec)):
        return spec, ""
    return "folder", spec


def check_data_spec(spec: str) -> None:
    """Refuses a spec of an unknown kind, or whose folder is missing, without reading what is there.

    Raises:
        ConfigError: unknown kind; suggests the closest.
        DataError: nothing lies at its path.
    """
    kind, path = parse_spec(spec)
    reader = READERS.get(kind)
    if path and not _is_pattern(path) and not os.path.exists(path):
        reader(spec, path)  # says what is missing in its own words
        raise DataError(f"{spec}: nothing is there", "Check the path.")


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in "{*?[") or "://" in path


def _looks_like_a_kind(spec: str) -> bool:
    is_path = os.sep in spec or os.path.exists(spec)
    return not is_path and bool(did_you_mean(spec, READERS.names()))


def _check_options(kind: str, reader: Reader, options: dict[str, Any]) -> None:
    known = list(inspect.signature(reader).parameters)[2:]
    for name in options:
        if name not in known:
            raise DataError(
                f"{kind} has no option '{name}'.{did_you_mean(name, known)}",
                f"Its options: {', '.join(known) or 'none'}",
            )
