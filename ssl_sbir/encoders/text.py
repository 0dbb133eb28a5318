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

from ssl_sbir.data.word_vectors import packaged_glove, read_words
from ssl_sbir.errors import EncoderError
from ssl_sbir.progress import progress
from ssl_sbir.registry import Registry, did_you_mean

AT_ONCE = 64  # texts of about the same length that are encoded together


@dataclass(frozen=True)
class Reading:
    """What an encoder made of one text.

    Attributes:
        read: tokens (words, of word vectors) that count in the vector.
        cut: tokens beyond what it reads.
        pieces: windows the text was read in; their tokens are averaged.
        unknown: words, or parts of words, that it doesn't know and passes over.
        mended: misspelt words and what each was read as.
        doubtful: words read in parts that look like a misspelt word, and which.
    """

    read: int
    cut: int = 0
    pieces: int = 1
    unknown: tuple[str, ...] = ()
    mended: tuple[tuple[str, str], ...] = ()
    doubtful: tuple[tuple[str, str], ...] = ()

    def notes(self) -> list[str]:
        """What a user should know of it, a sentence each; empty where the text was read as it is."""
        found = []
        if self.pieces > 1:
            found.append(f"read in {self.pieces} pieces, {self.read:,} tokens in all, whose mean is taken")
        if self.cut:
            found.append(f"the last {self.cut:,} tokens were cut off")
        if self.unknown:
            more = " …" if len(self.unknown) > 8 else ""
            found.append(f"not known and passed over: {', '.join(self.unknown[:8])}{more}")
        found += [f"'{word}' read as '{meant}'" for word, meant in self.mended]
        found += [
            f"'{word}' is no word it knows whole: did you mean '{meant}'?" for word, meant in self.doubtful
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
    def reading(self, text: str) -> Reading:
        """What it makes of a text."""

    @abstractmethod
    def _encoded(self, texts: list[str]) -> Float[Tensor, "b width"]:
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
        with progress(len(kinds), "reading texts", "text") as counter:
            for start in range(0, len(kinds), AT_ONCE):
                part = kinds[start : start + AT_ONCE]
                found[start : start + AT_ONCE] = self._encoded(part).float().cpu()
                counter.advance(len(part))
        place_of = {text: place for place, text in enumerate(kinds)}
        return F.normalize(found, dim=1)[[place_of[text] for text in texts]]

    def notes(self, texts: Sequence[str]) -> list[str]:
        """What was cut off, passed over or mended in some texts, a sentence each."""
        several = len(texts) > 1
        return [
            f"text {place}: {note}" if several else note
            for place, text in enumerate(texts, 1)
            for note in self.reading(text).notes()
        ]

    def facts(self) -> dict[str, Any]:
        """Name, hash, width and limit, JSON-able."""
        return {"name": self.name, "sha256": self.sha256, "width": self.width, "limit": self.limit}


@runtime_checkable
class LoadText(Protocol):
    """Makes a text encoder on a device."""

    def __call__(self, *, device: str) -> TextEncoder:
        """The encoder."""


text_encoders: Registry[LoadText] = Registry("text encoder", "ssl-sbir encoders", "ssl_sbir.text_encoders")
PREFIXES = ("hf:", "vectors:")


def load_text_encoder(name: str = "minilm", *, device: str = "cpu") -> TextEncoder:
    """The text encoder of that name.

    Args:
        name: `minilm` (packaged sentence encoder), `glove` (packaged word vectors), `hf:NAME-or-FOLDER` (a BERT or
            sentence encoder, or CLIP's text tower), `vectors:FILE` (word vectors in text or .npy), or a folder.
        device: where transformers run.

    Raises:
        SslSbirError: the name is unknown, or its files can't be had; says what to do.
    """
    from ssl_sbir.encoders.text_transformers import transformer_text_encoder
    from ssl_sbir.encoders.text_words import WordAverage

    prefix, colon, rest = name.partition(":")
    if colon and prefix == "hf":
        return transformer_text_encoder(rest, name, device=device)
    if colon and prefix == "vectors":
        return WordAverage(name, read_words(rest))
    if Path(name).is_dir() and name not in text_encoders.names():
        return transformer_text_encoder(name, name, device=device)
    if name not in text_encoders.names():
        raise EncoderError(
            f"unknown text encoder '{name}'.{did_you_mean(name, (*text_encoders.names(), *PREFIXES))}",
            f"Names: {', '.join(text_encoders.names())}, hf:NAME-or-FOLDER, vectors:FILE.",
        )
    return text_encoders.get(name)(device=device)


@text_encoders.register("minilm")
def _minilm(*, device: str) -> TextEncoder:
    from ssl_sbir.encoders.text_transformers import packaged_minilm

    return packaged_minilm(device=device)


@text_encoders.register("glove")
def _glove(*, device: str) -> TextEncoder:
    from ssl_sbir.encoders.text_words import WordAverage

    del device  # a table is read where it lies
    return WordAverage("glove", packaged_glove())
