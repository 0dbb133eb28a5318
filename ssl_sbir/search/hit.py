"""One photo that a search found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_sbir.data.class_names import printable_name


@dataclass(frozen=True)
class SearchHit:
    """One photo that a search found.

    Attributes:
        rank: from 1.
        id: its key in the indexed data.
        score: cosine of query and photo.
        parts: what each part of the query adds to the score; they add up to it.
        label: its class, where the data had one.
        path: its file, where it is one.
        gone: whether that file has been deleted since.
    """

    rank: int
    id: str
    score: float
    parts: dict[str, float]
    label: str | None = None
    path: Path | None = None
    gone: bool = False

    def facts(self) -> dict[str, Any]:
        """The same, JSON-able; bytes of a name that are not UTF-8 are shown as `�`."""
        path = None if self.path is None else printable_name(str(self.path))
        return {**vars(self), "id": printable_name(self.id), "path": path}
