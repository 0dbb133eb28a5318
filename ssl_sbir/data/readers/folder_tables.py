"""The two tables of a folder: which photo each sketch was drawn from, and descriptions of images."""

import csv
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.manifest import Domain
from ssl_sbir.errors import DataError


@dataclass
class PairTable:
    """The photo file of each (class, sketch file)."""

    photo_by_sketch: dict[tuple[str, str], str] = field(default_factory=dict)
    _found: set[tuple[str, str]] = field(default_factory=set)

    def find_instance(self, label: str, key: str, domain: Domain) -> tuple[str, str] | None:
        """What identifies the depicted thing: class and photo file; None for an image without a pair."""
        pair = (label, PurePosixPath(key).name)
        photos = self._photo_by_photo if domain == Domain.PHOTO else self.photo_by_sketch
        if pair not in photos:
            return None
        self._found.add(pair)
        return (label, photos[pair])

    def __post_init__(self) -> None:
        self._photo_by_photo = {(label, photo): photo for (label, _), photo in self.photo_by_sketch.items()}

    def unmatched_warnings(self) -> list[str]:
        """A warning if the table names missing files."""
        missing = [pair for pair in (*self.photo_by_sketch, *self._photo_by_photo) if pair not in self._found]
        return _missing_files_warning("pairs.csv", [f"{label}/{name}" for label, name in missing])


@dataclass
class TextTable:
    """The description of each file, by path below the folder or by file name."""

    text_by_file: dict[str, str] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)

    def find_text(self, key: str) -> str | None:
        """The description of an image, or None."""
        name = key if key in self.text_by_file else PurePosixPath(key).name
        if name not in self.text_by_file:
            return None
        self._found.add(name)
        return self.text_by_file[name]

    def unmatched_warnings(self) -> list[str]:
        """A warning if the table names missing files."""
        return _missing_files_warning(
            "texts.csv", [name for name in self.text_by_file if name not in self._found]
        )


def read_pair_table(path: Path) -> PairTable:
    """The table in pairs.csv (class, sketch, photo); empty if there is no such file.

    Raises:
        DataError: a column or a value is missing; names the line.
    """
    rows = _read_csv_rows(path, ("class", "sketch", "photo"))
    return PairTable({(normalize_class_name(row["class"]), row["sketch"]): row["photo"] for row in rows})


def read_text_table(path: Path) -> TextTable:
    """The table in texts.csv (file, text); empty if there is no such file.

    Raises:
        DataError: a column or a value is missing; names the line.
    """
    return TextTable(
        {row["file"].removeprefix("./"): row["text"] for row in _read_csv_rows(path, ("file", "text"))}
    )


def _read_csv_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_check_csv_rows(path, csv.DictReader(file, strict=True), columns))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", "Save it as UTF-8 CSV.") from error


def _check_csv_rows(
    path: Path, reader: "csv.DictReader[str]", columns: tuple[str, ...]
) -> list[dict[str, str]]:
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}'", f"First line: {','.join(columns)}")
    rows = []
    for row in reader:
        if any(not row[name] for name in columns):
            raise DataError(f"{path}, line {reader.line_num}: a value is missing", "Fill it in or drop it.")
        rows.append(row)
    return rows


def _missing_files_warning(table: str, names: list[str]) -> list[str]:
    if not names:
        return []
    return [f"{table} names {len(names):,} missing files: {', '.join(names[:3])}"]
