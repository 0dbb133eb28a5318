"""Names of classes in their one spelling, and of files in one that can be printed."""

import os
import re
import unicodedata

_GAP = re.compile(r"[\s_-]+")


def normalise(name: str) -> str:
    """The one spelling of a class name: lower case, with `_` for each run of spaces, hyphens and underscores.

    >>> normalise("Hot-Air Balloon")
    'hot_air_balloon'
    """
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower())
    return _GAP.sub("_", lowered.strip())


def printable(name: str) -> str:
    """A file name as it can be shown: bytes that are no UTF-8 become `�`."""
    return os.fsencode(name).decode("utf-8", "replace")
