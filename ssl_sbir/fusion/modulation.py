"""Text that modulates a drawing's features: a scale and a shift for the output of every stage."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.encoders import Encoder, TwoTowerEncoder
from ssl_sbir.encoders.stages import EncoderStage, encoder_stages
from ssl_sbir.fusion.fusion_kinds import Fusion, Vectors


class ModulationFusion(Fusion):
    """Feature modulation: from the text, a scale and a shift for each channel of each stage of the sketch encoder.

    Source: Huang et al. (SEJE), where a text network modulates sketch features layer by layer and either side may be
    missing. A drawing without a text is encoded without modulation; a text without a drawing is its own vector. It
    starts as late fusion (scale 1, shift 0).

    Args:
        width: of the photos' space.
        words: width of the text encoder.
        channels: of each stage's output, input first.
        rank: width of the text representation that all stages read.
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

    def encode_sketches(
        self, encoder: Encoder, image: Float[Tensor, "b 3 h w"], words: Float[Tensor, "b words"] | None
    ) -> Vectors:
        """Features of drawings, modulated by their texts."""
        if words is None:
            return super().encode_sketches(encoder, image, None)
        with self._modulate_stages(encoder, words.to(image.device)):
            return super().encode_sketches(encoder, image, words)

    @contextmanager
    def _modulate_stages(self, encoder: Encoder, words: Float[Tensor, "b words"]) -> Iterator[None]:
        """Modulates the output of each stage within the block."""
        read = self.reads(words * words.shape[1] ** 0.5)
        handles = [
            last_stage_module(stage).register_forward_hook(_modulation_hook(layer(read)))
            for stage, layer in zip(modulated_stages(encoder), self.tells, strict=True)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _modulation_hook(scale_and_shift: Float[Tensor, "b channels"]) -> Any:
    def modulate_output(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        del module, inputs
        channels = (slice(None), slice(None), None, None) if output.ndim == 4 else (slice(None), None)
        scale, shift = (part.to(output.dtype)[channels] for part in scale_and_shift.chunk(2, 1))
        return output * (1 + scale) + shift

    return modulate_output


def modulated_stages(encoder: Encoder) -> list[EncoderStage]:
    """The stages of the sketch encoder whose output is a feature map or tokens: all but linear heads."""
    encoder = encoder.sketch if isinstance(encoder, TwoTowerEncoder) else encoder
    return [
        stage
        for stage in encoder_stages(encoder)
        if stage.parts and not isinstance(stage.parts[-1], nn.Linear)
    ]


def last_stage_module(stage: EncoderStage) -> nn.Module:
    """The module whose output is the stage's output."""
    return stage.parts[-1]


@torch.no_grad()
def stage_channels(encoder: Encoder) -> list[int]:
    """The number of output channels of each modulated stage, found by encoding one blank image."""
    channels: list[int] = []
    handles = [
        last_stage_module(stage).register_forward_hook(
            lambda _module, _inputs, output: channels.append(output.shape[1 if output.ndim == 4 else -1])
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
    return channels
