"""What every text encoder is: texts in, unit vectors out, and a plain account of what it could not read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.encoders.word_vector_files import load_packaged_glove, read_word_vectors
from ssl_sbir.errors import EncoderError
from ssl_sbir.progress import show_progress
from ssl_sbir.registry import Registry, did_you_mean

TEXT_BATCH_SIZE = 64  # texts of about the same length that are encoded together


@dataclass(frozen=True)
class TokenizationReport:
    """What an encoder made of one text.

    Attributes:
        num_tokens: tokens (words, of word vectors) that count in the vector.
        num_truncated: tokens beyond what it reads.
        num_windows: windows the text was read in; their tokens are averaged.
        unknown_words: words, or parts of words, that it doesn't know and passes over.
        corrections: misspelt words and what each was read as.
        suggestions: words read in parts that look like a misspelt word, and which.
    """

    num_tokens: int
    num_truncated: int = 0
    num_windows: int = 1
    unknown_words: tuple[str, ...] = ()
    corrections: tuple[tuple[str, str], ...] = ()
    suggestions: tuple[tuple[str, str], ...] = ()

    def describe_problems(self) -> list[str]:
        """What a user should know of it, a sentence each; empty where the text was read as it is."""
        found = []
        if self.num_windows > 1:
            found.append(
                f"read in {self.num_windows} pieces, {self.num_tokens:,} tokens in all, whose mean is taken"
            )
        if self.num_truncated:
            found.append(f"the last {self.num_truncated:,} tokens were cut off")
        if self.unknown_words:
            more = " …" if len(self.unknown_words) > 8 else ""
            found.append(f"not known and passed over: {', '.join(self.unknown_words[:8])}{more}")
        found += [f"'{word}' read as '{meant}'" for word, meant in self.corrections]
        found += [
            f"'{word}' is no word it knows whole: did you mean '{meant}'?" for word, meant in self.suggestions
        ]
        return found


class TextEncoder(ABC):
    """Unit vectors of texts; frozen: no recipe trains it.

    Attributes:
        name: as `load_text_encoder` takes it.
        width: length of a vector.
        limit: tokens read at once; None where any number is.
    """

    def __init__(self, name: str, width: int, limit: int | None) -> None:
        self.name, self.width, self.limit = name, width, limit

    @property
    @abstractmethod
    def sha256(self) -> str:
        """The hex sha256 of weights and vocabulary: vectors of two encoders compare only where it is equal."""

    @abstractmethod
    def tokenization_report(self, text: str) -> TokenizationReport:
        """What it makes of a text."""

    @abstractmethod
    def _encode_batch(self, texts: list[str]) -> Float[Tensor, "b width"]:
        """Vectors of any length of a few texts that aren't empty."""

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "b width"]:
        """A unit vector for each text, float32 on the CPU, [b, width]; equal texts are encoded once.

        Raises:
            EncoderError: a text is empty, or holds no word the encoder knows.
        """
        for place, text in enumerate(texts):
            if not text.strip():
                raise EncoderError(
                    f"text {place + 1} of {len(texts)} is empty", "Give a word or more, or leave it out."
                )
        kinds = sorted(set(texts), key=len)
        found = torch.empty(len(kinds), self.width)
        with show_progress(len(kinds), "reading texts", "text") as counter:
            for start in range(0, len(kinds), TEXT_BATCH_SIZE):
                part = kinds[start : start + TEXT_BATCH_SIZE]
                found[start : start + TEXT_BATCH_SIZE] = self._encode_batch(part).float().cpu()
                counter.advance(len(part))
        place_of = {text: place for place, text in enumerate(kinds)}
        return F.normalize(found, dim=1)[[place_of[text] for text in texts]]

    def notes(self, texts: Sequence[str]) -> list[str]:
        """What was cut off, passed over or mended in some texts, a sentence each."""
        several = len(texts) > 1
        return [
            f"text {place}: {note}" if several else note
            for place, text in enumerate(texts, 1)
            for note in self.tokenization_report(text).describe_problems()
        ]

    def facts(self) -> dict[str, Any]:
        """Name, hash, width and limit, JSON-able."""
        return {"name": self.name, "sha256": self.sha256, "width": self.width, "limit": self.limit}


@runtime_checkable
class TextEncoderLoader(Protocol):
    """Makes a text encoder on a device."""

    def __call__(self, *, device: str) -> TextEncoder:
        """The encoder."""


text_encoder_registry: Registry[TextEncoderLoader] = Registry(
    "text encoder", "ssl-sbir encoders", "ssl_sbir.text_encoders"
)
TEXT_ENCODER_PREFIXES = ("hf:", "vectors:")


def load_text_encoder(name: str = "minilm", *, device: str = "cpu") -> TextEncoder:
    """The text encoder of that name.

    Args:
        name: `minilm` (packaged sentence encoder), `glove` (packaged word vectors), `hf:NAME-or-FOLDER` (a BERT or
            sentence encoder, or CLIP's text tower), `vectors:FILE` (word vectors in text or .npy), or a folder.
        device: where transformers run.

    Raises:
        SslSbirError: the name is unknown, or its files can't be had; says what to do.
    """
    from ssl_sbir.encoders.text_transformer import transformer_text_encoder
    from ssl_sbir.encoders.text_word_average import WordVectorTextEncoder

    prefix, colon, rest = name.partition(":")
    if colon and prefix == "hf":
        return transformer_text_encoder(rest, name, device=device)
    if colon and prefix == "vectors":
        return WordVectorTextEncoder(name, read_word_vectors(rest))
    if Path(name).is_dir() and name not in text_encoder_registry.names():
        return transformer_text_encoder(name, name, device=device)
    if name not in text_encoder_registry.names():
        raise EncoderError(
            f"unknown text encoder '{name}'.{did_you_mean(name, (*text_encoder_registry.names(), *TEXT_ENCODER_PREFIXES))}",
            f"Names: {', '.join(text_encoder_registry.names())}, hf:NAME-or-FOLDER, vectors:FILE.",
        )
    return text_encoder_registry.get(name)(device=device)


@text_encoder_registry.register("minilm")
def _load_minilm(*, device: str) -> TextEncoder:
    from ssl_sbir.encoders.text_transformer import load_packaged_minilm

    return load_packaged_minilm(device=device)


@text_encoder_registry.register("glove")
def _load_glove(*, device: str) -> TextEncoder:
    from ssl_sbir.encoders.text_word_average import WordVectorTextEncoder

    del device  # a table is read where it lies
    return WordVectorTextEncoder("glove", load_packaged_glove())
