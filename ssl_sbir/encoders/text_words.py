"""Averaged word vectors as a text encoder: no word order, but any word of a large vocabulary, in microseconds."""

import re
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.word_vectors import Words
from ssl_sbir.encoders.spelling import mended_word
from ssl_sbir.encoders.text import Reading, TextEncoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.files import sha256_of

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
        found: the vocabulary and its vectors.
    """

    def __init__(self, name: str, found: Words) -> None:
        super().__init__(name, found.vectors.shape[1], None)
        self.vectors = found.vectors
        words = [word.lower() for word in found.words]
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
