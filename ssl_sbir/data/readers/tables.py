"""The two tables a folder may hold: which photo a sketch was drawn from, and what images show."""

import csv
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.names import normalise
from ssl_sbir.errors import DataError


@dataclass
class PairTable:
    """Photo file of each (class, sketch file)."""

    photo_of: dict[tuple[str, str], str] = field(default_factory=dict)
    _found: set[tuple[str, str]] = field(default_factory=set)

    def instance(self, label: str, key: str, domain: Domain) -> tuple[str, str] | None:
        """What names the drawn thing: its class and photo file; None for an unpaired image."""
        pair = (label, PurePosixPath(key).name)
        photos = self._photos if domain == Domain.PHOTO else self.photo_of
        if pair not in photos:
            return None
        self._found.add(pair)
        return (label, photos[pair])

    def __post_init__(self) -> None:
        self._photos = {(label, photo): photo for (label, _), photo in self.photo_of.items()}

    def leftovers(self) -> list[str]:
        """A warning if the table names files that are not there."""
        missing = [pair for pair in (*self.photo_of, *self._photos) if pair not in self._found]
        return _absent("pairs.csv", [f"{label}/{name}" for label, name in missing])


@dataclass
class TextTable:
    """Description of each file, by path below the folder or by name."""

    text_of: dict[str, str] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)

    def of(self, key: str) -> str | None:
        """The description of an image, or None."""
        name = key if key in self.text_of else PurePosixPath(key).name
        if name not in self.text_of:
            return None
        self._found.add(name)
        return self.text_of[name]

    def leftovers(self) -> list[str]:
        """A warning if the table names files that are not there."""
        return _absent("texts.csv", [name for name in self.text_of if name not in self._found])


def pair_table(path: Path) -> PairTable:
    """The table in pairs.csv (class, sketch, photo); empty where there is no such file.

    Raises:
        DataError: a column or a value is missing; names the line.
    """
    rows = _rows(path, ("class", "sketch", "photo"))
    return PairTable({(normalise(row["class"]), row["sketch"]): row["photo"] for row in rows})


def text_table(path: Path) -> TextTable:
    """The table in texts.csv (file, text); empty where there is no such file.

    Raises:
        DataError: a column or a value is missing; names the line.
    """
    return TextTable({row["file"].removeprefix("./"): row["text"] for row in _rows(path, ("file", "text"))})


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_checked(path, csv.DictReader(file, strict=True), columns))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", "Save it as UTF-8 CSV.") from error


def _checked(path: Path, reader: "csv.DictReader[str]", columns: tuple[str, ...]) -> list[dict[str, str]]:
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}'", f"First line: {','.join(columns)}")
    rows = []
    for row in reader:
        if any(not row[name] for name in columns):
            raise DataError(f"{path}, line {reader.line_num}: a value is missing", "Fill it in or drop it.")
        rows.append(row)
    return rows


def _absent(table: str, names: list[str]) -> list[str]:
    if not names:
        return []
    return [f"{table} names {len(names):,} files that are not there: {', '.join(names[:3])}"]
