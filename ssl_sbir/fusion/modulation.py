"""Text that changes how a drawing is seen: a scale and a shift of the features of every stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.encoders import Encoder, Towers
from ssl_sbir.encoders.stages import Stage, stages
from ssl_sbir.fusion.kinds import Fusion, Vectors, fusions


@fusions.register("modulation")
class Modulation(Fusion):
    """Feature modulation: the text gives each stage of the sketch's encoder a scale and a shift for each channel.

    Source: Huang et al. (SEJE), where a text network modulates sketch features layer by layer and either side may be
    missing. A drawing without a text passes the encoder as it is; a text without a drawing is its own vector. It starts
    as late fusion (scale 1, shift 0).

    Args:
        width: of the photos' space.
        words: width of the text encoder.
        channels: of each stage's output, input first.
        rank: width of what all stages read of the text.
    """

    kind = "modulation"
    needs_images = True

    def __init__(self, width: int, words: int, channels: list[int], rank: int = 64) -> None:
        super().__init__(width, words=words, channels=list(channels), rank=rank)
        self.reads = nn.Sequential(nn.Linear(words, rank), nn.ReLU())
        self.tells = nn.ModuleList(nn.Linear(rank, 2 * count) for count in channels)
        for layer in self.tells:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def seen(
        self, encoder: Encoder, image: Float[Tensor, "b 3 h w"], words: Float[Tensor, "b words"] | None
    ) -> Vectors:
        """Features of drawings, modulated by the texts beside them."""
        if words is None:
            return super().seen(encoder, image, None)
        with self._telling(encoder, words.to(image.device)):
            return super().seen(encoder, image, words)

    @contextmanager
    def _telling(self, encoder: Encoder, words: Float[Tensor, "b words"]) -> Iterator[None]:
        """Modulates what leaves each stage while drawings pass."""
        read = self.reads(words * words.shape[1] ** 0.5)
        handles = [
            last_part(stage).register_forward_hook(_changing(layer(read)))
            for stage, layer in zip(modulated_stages(encoder), self.tells, strict=True)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _changing(told: Float[Tensor, "b channels"]) -> Any:
    def change(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del module, inputs
        places = (slice(None), slice(None), None, None) if output.ndim == 4 else (slice(None), None)
        scale, shift = (part.to(output.dtype)[places] for part in told.chunk(2, 1))
        return output * (1 + scale) + shift

    return change


def modulated_stages(encoder: Encoder) -> list[Stage]:
    """The stages of a drawing's way whose output is a map or a row of tokens: all but linear heads."""
    encoder = encoder.sketch if isinstance(encoder, Towers) else encoder
    return [stage for stage in stages(encoder) if stage.parts and not isinstance(stage.parts[-1], nn.Linear)]


def last_part(stage: Stage) -> nn.Module:
    """The module whose output leaves the stage."""
    return stage.parts[-1]


@torch.no_grad()
def channels_of(encoder: Encoder) -> list[int]:
    """How many channels leave each modulated stage, found by passing one blank image."""
    found: list[int] = []
    handles = [
        last_part(stage).register_forward_hook(
            lambda _module, _inputs, output: found.append(output.shape[1 if output.ndim == 4 else -1])
        )
        for stage in modulated_stages(encoder)
    ]
    try:
        training = encoder.training
        side = encoder.preprocess.size
        encoder.eval()(torch.ones(1, 3, side, side), torch.zeros(1, dtype=torch.int64))
        encoder.train(training)
    finally:
        for handle in handles:
            handle.remove()
    return found
