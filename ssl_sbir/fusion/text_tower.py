"""The text side of a run: from texts to vectors in its photos' space, and queries of a drawing with a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.encoders import Encoder, TextEncoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.fusion.fusion_kinds import Fusion

QueryWeights = tuple[float | int, float | int]
SKETCH_BATCH_SIZE = 64  # drawings encoded together


@dataclass(frozen=True)
class FusedQuery:
    """Query vectors and their parts.

    Attributes:
        vector: unit vectors in the photos' space; a photo's score is its cosine to them.
        sketch: the drawing's part; None without a drawing.
        text: the text's part; None without a text.
    """

    vector: Float[Tensor, "b d"]
    sketch: Float[Tensor, "b d"] | None
    text: Float[Tensor, "b d"] | None


class TextTower(nn.Module):
    """Text queries, `tower(texts)`, and fused queries, `tower.fuse(sketch=, text=, weights=)`.

    The contract that a gallery relies on:

    - Photos are embedded by the run's encoder alone, `encoder(image, Domain.PHOTO)`, then normalised, without label
      or text; `reads_labels` marks the counter-examples that use them.
    - `tower(texts)` gives unit vectors [b, d] in that space: a query by text alone. `fuse` gives unit vectors for any
      non-empty subset of {sketch, text}, to search with like a drawing's.
    - `sketch` is images [b, 3, h, w] in 0..1 at the encoder's size, which every kind of fusion takes, or the encoder's
      features of them [b, d], which saves time and which a fusion that needs pixels (`needs_images`) refuses.
      `text` is b texts, or b vectors of the text encoder [b, text width].
    - `weights` is (sketch, text), of which only the ratio counts; None is `tower.weights`, calibrated on seen classes.
      The sketch's share is the share of the top ten that a drawing keeps against a contradicting text, as measured on
      held-out seen classes; (1, 0) and (0, 1) are the drawing and the text alone.
    - The parts of a `FusedQuery` add up to its vector, so that a photo's score is the sum of its products with the
      parts. They are exact where fusion is a weighted sum (late, gate) and Shapley values elsewhere.
    - `tower.encoder.tokenization_report(text)` says what was cut off or not understood.

    Args:
        encoder: frozen; its weights don't belong to this module.
        image_encoder: the run's; its weights don't belong to this module either.
        head: from the text encoder's space into the photos'; linear.
        fusion: the kind of fusion, with its weights.
    """

    reads_labels = False

    def __init__(self, encoder: TextEncoder, image_encoder: Encoder, head: nn.Module, fusion: Fusion) -> None:
        super().__init__()
        self.encoder = encoder
        self._images = [image_encoder]  # in a list, so that it isn't registered as a submodule
        self.head, self.fusion = head, fusion

    @property
    def image_encoder(self) -> Encoder:
        """The run's image encoder."""
        return self._images[0]

    @property
    def width(self) -> int:
        """The width of the photos' space."""
        return self.fusion.width

    @property
    def weights(self) -> QueryWeights:
        """The calibrated weights of sketch and text; their sum is 1."""
        share = float(self.fusion.share)
        return share, 1 - share

    @property
    def needs_images(self) -> bool:
        """Whether `fuse` must see the drawing itself."""
        return self.fusion.needs_images

    def forward(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """A unit vector in the photos' space for each text, [b, d].

        Raises:
            EncoderError: a text is empty, or all its words are unknown.
        """
        return self.fuse(text=texts).vector

    def describe_doubts(self, text: str) -> list[str]:
        """What is doubtful about how a text is read, a sentence each."""
        return self.encoder.notes([text])

    def to_photo_space(self, vectors: Float[Tensor, "b words"]) -> Float[Tensor, "b d"]:
        """Vectors of the text encoder as unit vectors in the photos' space."""
        return F.normalize(self.head(vectors.to(self.fusion.mixing.device)), dim=1)

    def fuse(
        self,
        sketch: Tensor | None = None,
        text: Sequence[str] | Tensor | None = None,
        weights: QueryWeights | None = None,
    ) -> FusedQuery:
        """One query for each sketch, text, or pair of them; see the class.

        Raises:
            EncoderError: there is neither, their numbers differ, or the weights are negative or both 0.
        """
        share = self._sketch_share(weights)
        sketch = None if share == 0 and text is not None else sketch
        text = None if share == 1 and sketch is not None else text
        if sketch is None and text is None:
            raise EncoderError("the query is empty", "Give a sketch, a text, or both.")
        words = self._encode_texts(text)
        if sketch is not None and words is not None and len(sketch) != len(words):
            raise EncoderError(
                f"{len(sketch)} sketches and {len(words)} texts", "Give one text for each sketch."
            )
        return self._build_query(
            None if sketch is None else self._encode_sketches(sketch, words), words, share
        )

    def _build_query(self, sketch: Tensor | None, words: Tensor | None, share: float) -> FusedQuery:
        """The query of unit sketch vectors and text-encoder vectors, one of which may be None."""
        if words is None:
            assert sketch is not None
            vector = self.fusion.sketch_alone(sketch)
            return FusedQuery(vector, vector, None)
        if sketch is None:
            vector = self.fusion.text_alone(self.to_photo_space(words))
            return FusedQuery(vector, None, vector)
        return FusedQuery(*self.fusion(sketch, self.to_photo_space(words), share))

    def _sketch_share(self, weights: QueryWeights | None) -> float:
        sketch, text = self.weights if weights is None else weights
        if min(sketch, text) < 0 or sketch + text <= 0:
            raise EncoderError(
                f"weights {sketch:g} and {text:g}", "Give two numbers of 0 or more, not both 0."
            )
        return sketch / (sketch + text)

    def _encode_texts(self, text: Sequence[str] | Tensor | None) -> Float[Tensor, "b words"] | None:
        if text is None or isinstance(text, Tensor):
            return text
        return self.encoder([text] if isinstance(text, str) else text)

    def _encode_sketches(self, sketch: Tensor, words: Tensor | None) -> Float[Tensor, "b d"]:
        """Unit vectors of sketches, given their texts if there are any."""
        if sketch.ndim != 4 and self.needs_images and words is not None:
            raise EncoderError(
                f"fusion '{self.fusion.kind}' needs the drawing's pixels, not its features",
                "Give images [b, 3, h, w] in 0..1.",
            )
        if sketch.ndim != 4:
            return F.normalize(sketch, dim=1)
        parts = [
            self.fusion.encode_sketches(self.image_encoder, images, batch_words)
            for images, batch_words in zip(
                sketch.split(SKETCH_BATCH_SIZE), _split_text_batches(words, len(sketch)), strict=True
            )
        ]
        return F.normalize(torch.cat(parts).float(), dim=1)

    def to_spec(self) -> dict[str, Any]:
        """What `load_text_tower` needs besides the weights, JSON-able."""
        return {
            "text_encoder": self.encoder.facts(),
            "width": self.width,
            "fusion": {"kind": self.fusion.kind, **self.fusion.settings},
        }


def _split_text_batches(words: Tensor | None, count: int) -> Sequence[Tensor | None]:
    return words.split(SKETCH_BATCH_SIZE) if words is not None else [None] * -(-count // SKETCH_BATCH_SIZE)
