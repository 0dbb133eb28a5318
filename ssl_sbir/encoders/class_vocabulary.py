"""The classes of a classifier in words: ImageNet's, or a user's own file, and the vectors of their descriptions."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.class_names import normalize_class_name, printable_name
from ssl_sbir.encoders.cached_tensors import load_cached_tensor
from ssl_sbir.encoders.text_encoder import TextEncoder
from ssl_sbir.errors import ConfigError, EncoderError
from ssl_sbir.files import cache_dir, is_file, sha256_of, write_atomic

MAX_CLASSES = 100_000
MAX_NAME_LENGTH = 1_000  # characters
MAX_VOCABULARY_BYTES = 50_000_000
QUOTED_LENGTH = 60  # characters of a name that an error quotes
VOCABULARY_COLUMNS = ("name", "definition")
DESCRIPTION_FORMAT = "descriptions 1"  # part of the cache key: how vectors are made of a vocabulary
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class ClassVocabulary:
    """The classes of a classifier in words, in the order of its outputs.

    Attributes:
        name: "imagenet-1k", or the name of a file or a model.
        labels: a name for each class, synonyms separated by commas ("chime, bell, gong").
        definitions: a definition of each class; empty where unknown.

    Raises:
        ValueError: there are fewer than 2 or more than 100,000 classes, not as many definitions as labels, a label
            without a name, or a character that is no text.
    """

    name: str
    labels: tuple[str, ...]
    definitions: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.labels) <= MAX_CLASSES:
            raise ValueError(f"a vocabulary of {len(self.labels):,} classes")
        if len(self.labels) != len(self.definitions):
            raise ValueError(f"{len(self.labels):,} labels with {len(self.definitions):,} definitions")
        if not all(self.short_labels):
            raise ValueError(f"label {self.short_labels.index('')} has no name")
        _ = self.sha256  # a lone surrogate has no UTF-8

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of name, labels and definitions."""
        return sha256_of(self.name, *self.labels, *self.definitions)

    @cached_property
    def short_labels(self) -> tuple[str, ...]:
        """The first synonym of each class."""
        return tuple(label.partition(",")[0].strip() for label in self.labels)

    def facts(self) -> dict[str, Any]:
        """The vocabulary as a JSON-able dict."""
        return {"name": self.name, "labels": list(self.labels), "definitions": list(self.definitions)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "ClassVocabulary":
        """The vocabulary described by `facts`.

        Raises:
            KeyError, TypeError, ValueError: a key is missing, or a value has the wrong form.
        """
        name, labels, definitions = facts["name"], facts["labels"], facts["definitions"]
        if not isinstance(labels, list) or not isinstance(definitions, list):
            raise TypeError("labels and definitions are lists")
        if not all(isinstance(text, str) for text in (name, *labels, *definitions)):
            raise TypeError("name, labels and definitions are strings")
        return cls(name, tuple(labels), tuple(definitions))


@lru_cache(maxsize=8)
def imagenet_vocabulary(subset: str = "imagenet-1k") -> ClassVocabulary:
    """ImageNet's classes in the order of timm's and torchvision's classifiers, with WordNet's definitions.

    Args:
        subset: a name of timm's: imagenet-1k, imagenet-12k, imagenet-22k, imagenet-21k-goog, imagenet-21k-miil, ...

    Raises:
        EncoderError: timm knows no such subset.
    """
    from timm.data.imagenet_info import ImageNetInfo

    try:
        info = ImageNetInfo(subset)
    except (AssertionError, KeyError) as error:
        raise EncoderError(
            f"unknown ImageNet subset '{_quote_text(subset)}'", "One that timm knows, such as imagenet-1k."
        ) from error
    labels = [info.index_to_description(index) for index in range(info.num_classes())]
    detailed = [info.index_to_description(index, detailed=True) for index in range(info.num_classes())]
    definitions = [text.removeprefix(f"{label}: ") for label, text in zip(labels, detailed, strict=True)]
    return ClassVocabulary(subset, tuple(labels), tuple(definitions))


def read_vocabulary_file(path: Path | str) -> ClassVocabulary:
    """A user's own vocabulary: a .csv file with the columns name and definition, or any other file with a name a line.

    Definitions may be missing. Runs of white space become one space; empty lines are skipped.

    Raises:
        ConfigError: the file is missing, too large, no UTF-8 or no CSV, or a name is empty, too long, repeated or the
            only one; names the line.
    """
    path = Path(path)
    text = _read_bounded_text(path)
    is_csv = path.suffix.lower() == ".csv"
    try:
        entries = _iter_csv_entries(path, text) if is_csv else _iter_line_entries(path, text)
        labels, definitions = _collect_entries(path, entries)
    except csv.Error as error:
        raise _file_error(path, f": {error}", "Save it as UTF-8 CSV.") from error
    if len(labels) < 2:
        raise _file_error(
            path, f" holds {len(labels)} names: a vocabulary needs two or more", "Add words, one a line."
        )
    return ClassVocabulary(_escape_text(path.name), tuple(labels), tuple(definitions))


def _read_bounded_text(path: Path) -> str:
    if not is_file(path):
        raise _file_error(path, " is no file", "Name a .csv file, or a text file with one name a line.")
    try:
        size = path.stat().st_size
        if size > MAX_VOCABULARY_BYTES:
            limit = f"{MAX_VOCABULARY_BYTES // 1_000_000} MB"
            raise _file_error(path, f" takes more than {limit}", "Give fewer words, or shorter definitions.")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _file_error(path, f" can't be read: {error.strerror}", "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise _file_error(path, f": {error}", "Save it as UTF-8.") from error


def _iter_line_entries(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, name and an empty definition of each line with text."""
    if text.partition("\n")[0].strip() == ",".join(VOCABULARY_COLUMNS):
        raise _file_error(path, " begins like a CSV file", "Give it the suffix .csv.")
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line, ""


def _iter_csv_entries(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, name and definition of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    if "name" not in header or len(set(header)) < len(header):
        problem = " names a column twice" if "name" in header else " has no column 'name'"
        raise _file_error(path, problem, f"First line: {','.join(VOCABULARY_COLUMNS)}")
    for row in reader:
        if len(row) > len(header):
            raise _file_error(
                path,
                f", line {reader.line_num}: {len(row)} values for {len(header)} columns",
                'Put texts that hold commas into "quotes".',
            )
        values = dict(zip(header, row, strict=False))
        if row:
            yield reader.line_num, values.get("name", ""), values.get("definition", "")


def _collect_entries(path: Path, entries: Iterator[tuple[int, str, str]]) -> tuple[list[str], list[str]]:
    labels, definitions, line_of = list[str](), list[str](), dict[str, int]()
    for line, raw_name, raw_definition in entries:
        name, definition = " ".join(raw_name.split()), " ".join(raw_definition.split())
        if len(labels) == MAX_CLASSES:
            raise _file_error(path, f" holds more than {MAX_CLASSES:,} names", "Give fewer words.")
        if problem := _describe_entry_problem(name, definition):
            raise _file_error(path, f", line {line}: {problem}", "Correct it or drop the line.")
        first = line_of.setdefault(normalize_class_name(name), line)
        if first != line:
            raise _file_error(
                path,
                f", line {line}: '{_quote_text(name)}' is the name in line {first} already",
                "Drop one of them, or tell them apart ('crane, bird', 'crane, machine').",
            )
        labels.append(name)
        definitions.append(definition)
    return labels, definitions


def _describe_entry_problem(name: str, definition: str) -> str:
    """What is wrong with a name and its definition; empty if nothing is."""
    if not name.partition(",")[0].strip():
        return "the name is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"the name '{_quote_text(name)}' has more than {MAX_NAME_LENGTH:,} characters"
    if _CONTROL_CHARACTER.search(name):
        return f"the name '{_quote_text(name)}' holds control characters"
    if _CONTROL_CHARACTER.search(definition):
        return f"the definition of '{_quote_text(name)}' holds control characters"
    return ""


def _file_error(path: Path, problem: str, hint: str) -> ConfigError:
    return ConfigError(f"vocabulary {_escape_text(str(path))}{problem}", hint)


def _quote_text(text: str) -> str:
    """The beginning of a text, safe to print."""
    return _escape_text(text if len(text) <= QUOTED_LENGTH else f"{text[:QUOTED_LENGTH]}…")


def _escape_text(text: str) -> str:
    """A text safe to print: control characters and lone surrogates are replaced."""
    return printable_name(text.encode("utf-8", "replace").decode("utf-8"))


def embed_vocabulary(
    vocabulary: ClassVocabulary, text_encoder: TextEncoder
) -> Float[Tensor, "classes width"]:
    """A unit vector for each class, float32 on the CPU; cached.

    It is the direction of E(label) + E(definition) + E("label: definition"), E being the text encoder; of a class
    without a definition, E(label). A class of which the text encoder knows no word has the vector 0.
    """
    labels, definitions = vocabulary.labels, vocabulary.definitions
    both = [
        f"{label}: {text}" if text.strip() else label for label, text in zip(labels, definitions, strict=True)
    ]
    vectors = embed_texts_cached((*labels, *definitions, *both), text_encoder)
    return F.normalize(vectors.unflatten(0, (3, -1)).sum(0), dim=1)


def embed_texts_cached(texts: Sequence[str], text_encoder: TextEncoder) -> Float[Tensor, "n width"]:
    """A unit vector for each text, float32 on the CPU; read from the cache if they are in it.

    A text without a word that the text encoder knows has the vector 0.
    """
    key = sha256_of(DESCRIPTION_FORMAT, text_encoder.sha256, *texts)
    path = cache_dir() / "vocabularies" / f"{key}.safetensors"
    vectors = load_cached_tensor(path, "vectors", (len(texts), text_encoder.width))
    if vectors is None:
        vectors = _encode_known_texts(texts, text_encoder)
        write_atomic(path, save({"vectors": vectors}))
    return vectors


def _encode_known_texts(texts: Sequence[str], text_encoder: TextEncoder) -> Tensor:
    known = [index for index, text in enumerate(texts) if text_encoder.knows_word(text)]
    vectors = torch.zeros(len(texts), text_encoder.width)
    if known:
        vectors[known] = text_encoder([texts[index] for index in known])
    return vectors
