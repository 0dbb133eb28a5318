"""Class names in one spelling, and file names in a form that can be printed."""

import os
import re
import unicodedata

_GAP = re.compile(r"[\s_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def normalize_class_name(name: str) -> str:
    """The one spelling of a class name: lower case, with `_` for each run of spaces, hyphens and underscores.

    >>> normalize_class_name("Hot-Air Balloon")
    'hot_air_balloon'
    """
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())
    return _GAP.sub("_", lowered.strip())


def printable_name(name: str) -> str:
    """A file name that is safe to print: bytes that are no UTF-8, and control characters, become `�`."""
    return _CONTROL.sub("�", os.fsencode(name).decode("utf-8", "replace"))
