"""The text beside a drawing, as explanations ask about it: many texts for one drawing, unknown words and no text too."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# A drawing [3, h, w] and texts to query vectors [t, d] in the space of the photos; "" is the drawing alone.
FuseSketchTexts = Callable[[Tensor, Sequence[str]], Tensor]
NO_WORD_KNOWN = "The text holds no word that the encoder knows: the drawing alone was searched for."


class SketchTextFuser:
    """Queries of one drawing with several texts, in the space of the photos.

    Args:
        text_tower: the text side of a run (`RunFolder.text_tower`): its `fuse(sketch=, text=)` gives an object with
            `vector` [b, d], and its `encoder.reading(text)` says how much of a text is read.
        weights: of drawing and text; None takes the run's own.
    """

    def __init__(self, text_tower: Any, weights: tuple[float, float] | None = None) -> None:
        self.text_tower, self.weights = text_tower, weights

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "3 h w"], texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """A query for each text; the drawing alone where a text is empty or nothing in it is known."""
        alone = self.text_tower.fuse(sketch=image[None]).vector
        found = alone.repeat(len(texts), 1)
        read = [place for place, text in enumerate(texts) if self._is_read(text)]
        if read:
            drawn = image[None] if self.text_tower.needs_images else self._sketch_features(image)
            many = drawn.expand(len(read), *drawn.shape[1:])
            told = [texts[place] for place in read]
            found[read] = self.text_tower.fuse(sketch=many, text=told, weights=self.weights).vector
        return found

    def describe_text(self, text: str) -> tuple[str, ...]:
        """What of a text was not understood, in sentences."""
        if text and not self._is_read(text):
            return (NO_WORD_KNOWN,)
        return (
            tuple(f"The text: {note}." for note in self.text_tower.encoder.reading(text).notes())
            if text
            else ()
        )

    def sketch_share(self, text: str) -> float | None:
        """How much of a query the drawing counts, 0 to 1; None where nothing of the text is read."""
        if not self._is_read(text):
            return None
        drawing, words = self.weights or self.text_tower.weights
        return drawing / (drawing + words)

    def _is_read(self, text: str) -> bool:
        return bool(text.strip()) and self.text_tower.encoder.reading(text).read > 0

    def _sketch_features(self, image: Tensor) -> Tensor:
        domain = torch.zeros(1, dtype=torch.int64, device=image.device)
        return self.text_tower.image_encoder(image[None], domain)
