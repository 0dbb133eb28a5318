"""The interface of text encoders: texts in, unit vectors out, and a report of what they could not read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.errors import EncoderError
from ssl_sbir.progress import show_progress

TEXT_BATCH_SIZE = 64  # texts of about the same length that are encoded together


@dataclass(frozen=True)
class TokenizationReport:
    """How an encoder read one text.

    Attributes:
        num_tokens: tokens (for word vectors: words) that contribute to the vector.
        num_truncated: tokens beyond what the encoder reads.
        num_windows: windows that the text was split into; their tokens are averaged.
        unknown_words: words, or parts of words, that are not in the vocabulary and were skipped.
        corrections: misspelt words, each with the word it was read as.
        suggestions: words outside the vocabulary that look misspelt, each with a likely correction.
    """

    num_tokens: int
    num_truncated: int = 0
    num_windows: int = 1
    unknown_words: tuple[str, ...] = ()
    corrections: tuple[tuple[str, str], ...] = ()
    suggestions: tuple[tuple[str, str], ...] = ()

    def describe_problems(self) -> list[str]:
        """What a user should know, a sentence each; empty if the whole text was read as written."""
        problems = []
        if self.num_windows > 1:
            problems.append(
                f"read in {self.num_windows} windows, {self.num_tokens:,} tokens in all, which are averaged"
            )
        if self.num_truncated:
            problems.append(f"the last {self.num_truncated:,} tokens were cut off")
        if self.unknown_words:
            more = " …" if len(self.unknown_words) > 8 else ""
            problems.append(f"not in the vocabulary and skipped: {', '.join(self.unknown_words[:8])}{more}")
        problems += [f"'{word}' read as '{meant}'" for word, meant in self.corrections]
        problems += [
            f"'{word}' is not in the vocabulary: did you mean '{meant}'?" for word, meant in self.suggestions
        ]
        return problems


class TextEncoder(ABC):
    """Unit vectors of texts; frozen, no recipe trains it.

    Attributes:
        name: what `load_text_encoder` takes.
        width: length of a vector.
        limit: tokens read at once; None for any number.
    """

    def __init__(self, name: str, width: int, limit: int | None) -> None:
        self.name, self.width, self.limit = name, width, limit

    @property
    @abstractmethod
    def sha256(self) -> str:
        """The hex sha256 of weights and vocabulary; only vectors with equal hashes are comparable."""

    @abstractmethod
    def tokenization_report(self, text: str) -> TokenizationReport:
        """How the encoder reads a text."""

    def knows_word(self, text: str) -> bool:
        """Whether the encoder knows any word of a text; a transformer reads every text that isn't empty."""
        return bool(text.strip())

    @abstractmethod
    def _encode_batch(self, texts: list[str]) -> Float[Tensor, "b width"]:
        """Vectors, not yet normalised, of a few non-empty texts."""

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "b width"]:
        """A unit vector for each text, float32 on the CPU, [b, width]; equal texts are encoded once.

        Raises:
            EncoderError: a text is empty, or holds no word the encoder knows.
        """
        for number, text in enumerate(texts, 1):
            if not text.strip():
                raise EncoderError(
                    f"text {number} of {len(texts)} is empty", "Give a word or more, or leave it out."
                )
        distinct = sorted(set(texts), key=len)
        vectors = torch.empty(len(distinct), self.width)
        with show_progress(len(distinct), "encoding texts", "text") as counter:
            for start in range(0, len(distinct), TEXT_BATCH_SIZE):
                part = distinct[start : start + TEXT_BATCH_SIZE]
                vectors[start : start + TEXT_BATCH_SIZE] = self._encode_batch(part).float().cpu()
                counter.advance(len(part))
        index_of = {text: index for index, text in enumerate(distinct)}
        return F.normalize(vectors, dim=1)[[index_of[text] for text in texts]]

    def notes(self, texts: Sequence[str]) -> list[str]:
        """What was cut off, skipped or corrected in some texts, a sentence each."""
        several = len(texts) > 1
        return [
            f"text {number}: {note}" if several else note
            for number, text in enumerate(texts, 1)
            for note in self.tokenization_report(text).describe_problems()
        ]

    def facts(self) -> dict[str, Any]:
        """Name, hash, width and limit, JSON-able."""
        return {"name": self.name, "sha256": self.sha256, "width": self.width, "limit": self.limit}
