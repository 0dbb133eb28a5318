"""Query vectors of texts, with a drawing or alone; texts may be empty or hold unknown words."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.explain.text.text_reading import (
    ClassContributions,
    TextReading,
    contributions_by_class,
    read_text,
)
from ssl_sbir.fusion.vocabulary_tower import VocabularyTextTower

NO_WORD_KNOWN = "The encoder knows no word of the text, so only the drawing was used."
MAX_TEXTS_AT_ONCE = 64


class TextQueries:
    """Query vectors in the space of the photos, and what the texts mean.

    Args:
        text_tower: the text side of a run or an encoder (`ssl_sbir.fusion.TextTower`).
        weights: of drawing and text; None takes the tower's own.
        directions: of the vocabulary's classes among drawings; by default those among photos.
    """

    def __init__(
        self,
        text_tower: Any,
        weights: tuple[float, float] | None = None,
        directions: Float[Tensor, "classes d"] | None = None,
    ) -> None:
        self.text_tower, self.weights, self.directions = text_tower, weights, directions

    @torch.no_grad()
    def query_vectors(
        self, image: Float[Tensor, "3 h w"] | None, texts: Sequence[str]
    ) -> Float[Tensor, "t d"]:
        """A query vector for each text: with the drawing, or of the text alone.

        A text that holds no known word gives the drawing's vector, and without a drawing 0.

        Args:
            image: the drawing, in 0..1; None for texts alone.
            texts: the texts; without a drawing, one of them holds a known word.
        """
        understood = [index for index, text in enumerate(texts) if self.is_understood(text)]
        chosen = [texts[index] for index in understood]
        if image is None:
            vectors = torch.cat([self.text_tower(part) for part in _split_texts(chosen)])
            queries = vectors.new_zeros(len(texts), vectors.shape[1])
        else:
            queries = self.text_tower.fuse(sketch=image[None]).vector.repeat(len(texts), 1)
            if not chosen:
                return queries
            vectors = self._fuse_with_drawing(image, chosen)
        queries[understood] = vectors.to(queries)
        return queries

    @torch.no_grad()
    def text_part(self, image: Float[Tensor, "3 h w"] | None, text: str) -> Float[Tensor, " d"] | None:
        """The text's part of the query vector; None if it has none, because no word is known or it weighs nothing.

        Args:
            image: the drawing, in 0..1; None for the text alone.
            text: the text.
        """
        if not self.is_understood(text):
            return None
        if image is None:
            return self.text_tower([text])[0]
        part = self.text_tower.fuse(sketch=image[None], text=[text], weights=self.weights).text
        return None if part is None else part[0]

    def read_text(self, text: str, drawing: Float[Tensor, " d"] | None = None) -> TextReading | None:
        """What a text means to the encoder; None where it isn't read by a vocabulary, or no word is known.

        Args:
            text: the text.
            drawing: embedding of the drawing beside it.
        """
        tower = self.text_tower
        if not isinstance(tower, VocabularyTextTower) or not self.is_understood(text):
            return None
        return read_text(tower, text, drawing, self.directions)

    def split_by_class(
        self, text: str, part: Float[Tensor, " d"], photos: Float[Tensor, "k d"]
    ) -> list[ClassContributions] | list[None]:
        """What each class adds to the text's part of each photo's score; None where there is no vocabulary.

        Args:
            text: the text.
            part: its part of the query vector, `text_part`.
            photos: embeddings.
        """
        if not isinstance(self.text_tower, VocabularyTextTower):
            return [None] * len(photos)
        return contributions_by_class(self.text_tower, text, part, photos)

    def describe_text(self, text: str) -> tuple[str, ...]:
        """What is doubtful about how a text is read, in sentences."""
        if not text:
            return ()
        if not self.is_understood(text):
            return (NO_WORD_KNOWN,)
        describe = getattr(self.text_tower, "describe_doubts", self._describe_unread_words)
        return tuple(f"The text: {doubt}." for doubt in describe(text))

    def sketch_share(self, text: str) -> float | None:
        """The drawing's weight in the query, 0 to 1; None if no word of the text is known."""
        if not self.is_understood(text):
            return None
        drawing, words = self.weights or self.text_tower.weights
        return drawing / (drawing + words)

    def is_understood(self, text: str) -> bool:
        """Whether the text encoder knows a word of a text."""
        return bool(text.strip()) and self.text_tower.encoder.tokenization_report(text).num_tokens > 0

    def _describe_unread_words(self, text: str) -> list[str]:
        return self.text_tower.encoder.tokenization_report(text).describe_problems()

    def _fuse_with_drawing(self, image: Tensor, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        sketch = image[None] if self.text_tower.needs_images else self._sketch_features(image)
        queries = [
            self.text_tower.fuse(
                sketch=sketch.expand(len(part), *sketch.shape[1:]), text=part, weights=self.weights
            )
            for part in _split_texts(texts)
        ]
        return torch.cat([query.vector for query in queries])

    def _sketch_features(self, image: Tensor) -> Tensor:
        domain = torch.zeros(1, dtype=torch.int64, device=image.device)
        return self.text_tower.image_encoder(image[None], domain)


def _split_texts(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + MAX_TEXTS_AT_ONCE] for start in range(0, len(texts), MAX_TEXTS_AT_ONCE)]
