"""Query vectors of one drawing with many texts; texts may be empty or hold unknown words."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# From a drawing [3, h, w] and t texts to query vectors [t, d] in the space of the photos; "" is the drawing alone.
FuseSketchTexts = Callable[[Tensor, Sequence[str]], Tensor]
NO_WORD_KNOWN = "The encoder knows no word of the text, so only the drawing was used."


class SketchTextFuser:
    """Query vectors of one drawing with several texts, in the space of the photos.

    Args:
        text_tower: the text side of a run (`RunFolder.text_tower`). Its `fuse(sketch=, text=)` returns an object with
            `vector` [b, d]; its `encoder.tokenization_report(text)` says how much of a text is understood.
        weights: of drawing and text; None takes the run's own.
    """

    def __init__(self, text_tower: Any, weights: tuple[float, float] | None = None) -> None:
        self.text_tower, self.weights = text_tower, weights

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "3 h w"], texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """A query vector for each text; that of the drawing alone if a text holds no known word."""
        sketch_only = self.text_tower.fuse(sketch=image[None]).vector
        queries = sketch_only.repeat(len(texts), 1)
        understood = [index for index, text in enumerate(texts) if self._is_understood(text)]
        if understood:
            sketch = image[None] if self.text_tower.needs_images else self._sketch_features(image)
            sketches = sketch.expand(len(understood), *sketch.shape[1:])
            chosen = [texts[index] for index in understood]
            queries[understood] = self.text_tower.fuse(
                sketch=sketches, text=chosen, weights=self.weights
            ).vector
        return queries

    def describe_text(self, text: str) -> tuple[str, ...]:
        """What of a text was not understood, in sentences."""
        if not text:
            return ()
        if not self._is_understood(text):
            return (NO_WORD_KNOWN,)
        problems = self.text_tower.encoder.tokenization_report(text).describe_problems()
        return tuple(f"The text: {problem}." for problem in problems)

    def sketch_share(self, text: str) -> float | None:
        """The drawing's weight in the query, 0 to 1; None if no word of the text is known."""
        if not self._is_understood(text):
            return None
        drawing, words = self.weights or self.text_tower.weights
        return drawing / (drawing + words)

    def _is_understood(self, text: str) -> bool:
        return bool(text.strip()) and self.text_tower.encoder.tokenization_report(text).num_tokens > 0

    def _sketch_features(self, image: Tensor) -> Tensor:
        domain = torch.zeros(1, dtype=torch.int64, device=image.device)
        return self.text_tower.image_encoder(image[None], domain)
