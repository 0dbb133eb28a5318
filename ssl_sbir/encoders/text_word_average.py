"""Averaged word vectors as a text encoder: word order is lost, but the vocabulary is large and encoding takes microseconds."""

import re
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.encoders.misspelling import correct_spelling
from ssl_sbir.encoders.text_encoder import TextEncoder, TokenizationReport
from ssl_sbir.encoders.word_vector_files import WordVectorTable
from ssl_sbir.errors import EncoderError
from ssl_sbir.files import sha256_of

WORD_PATTERN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# They don't describe a picture, but would dominate the mean of a sentence.
_FUNCTION_WORD_LIST = """a an and are as at be by for from has have in into is it its of on or that the their them there these
they this those to was were which who whose with"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())


class WordVectorTextEncoder(TextEncoder):
    """The mean of the unit vectors of a text's words, without function words unless there are no others.

    An unknown word is looked up in parts (at hyphens), then as the most frequent word one edit away (a letter added,
    removed or replaced, or two exchanged); vocabularies are ordered by frequency. Words of other scripts and languages
    are known only if the vocabulary has them.

    Args:
        name: what `load_text_encoder` takes.
        vocabulary: the vocabulary and its vectors.
    """

    def __init__(self, name: str, vocabulary: WordVectorTable) -> None:
        super().__init__(name, vocabulary.vectors.shape[1], None)
        self.vectors = vocabulary.vectors
        words = [word.lower() for word in vocabulary.words]
        self.word_indices = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of vocabulary and vectors."""
        return sha256_of(
            "\0".join(self.word_indices), np.ascontiguousarray(self.vectors).data.cast("B").tobytes()
        )

    def tokenization_report(self, text: str) -> TokenizationReport:
        """How many words are known, which aren't, and what misspelt words were read as."""
        known, unknown, corrected = self._match_words(text)
        return TokenizationReport(
            len(known), unknown_words=tuple(unknown), corrections=tuple(corrected.items())
        )

    def knows_word(self, text: str) -> bool:
        """Whether a word of the text, or its correction, is in the vocabulary."""
        return bool(self._match_words(text)[0])

    def _encode_batch(self, texts: list[str]) -> Float[Tensor, "b width"]:
        vectors = []
        for text in texts:
            known, unknown, _ = self._match_words(text)
            if not known:
                raise EncoderError(
                    f"text encoder '{self.name}' knows none of the words {', '.join(unknown[:8]) or repr(text)}",
                    "Use other words, or a sentence encoder (minilm), which can read parts of words.",
                )
            content_words = [word for word in known if word not in FUNCTION_WORDS] or known
            rows = self.vectors[[self.word_indices[word] for word in content_words]]
            vectors.append(F.normalize(torch.from_numpy(np.asarray(rows, dtype=np.float32)), dim=1).mean(0))
        return torch.stack(vectors)

    def _match_words(self, text: str) -> tuple[list[str], list[str], dict[str, str]]:
        """Known words in order, unknown words, and the correction of each misspelt word."""
        known: list[str] = []
        unknown: dict[str, None] = {}
        corrected: dict[str, str] = {}
        for word in WORD_PATTERN.findall(text.lower().replace("_", " ")):
            parts = self._known_word_parts(word)
            if parts:
                known += parts
            elif (meant := correct_spelling(word, self.word_indices)) is not None:
                known.append(meant)
                corrected[word] = meant
            else:
                unknown[word] = None
        return known, list(unknown), corrected

    def _known_word_parts(self, word: str) -> list[str]:
        """The word if it is known, else its known parts."""
        if word in self.word_indices:
            return [word]
        return (
            [part for part in re.split(r"['’-]", word) if part in self.word_indices]
            if not word.isalnum()
            else []
        )
