"""The precision to compute in: bfloat16 where the hardware supports it and it is faster, else 32 bit."""

from typing import Literal

import torch
from torch import nn

Precision = Literal["bf16-mixed", "32-true"]


def has_bf16(device: str | torch.device) -> bool:
    """Whether a device computes bfloat16 natively: emulation takes up to 20 times as long as 32 bit."""
    kind = torch.device(device).type
    if kind == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def resolve_precision(
    requested: Literal["auto", "32-true", "bf16-mixed"], accelerator: str, encoder: nn.Module
) -> Precision:
    """The requested precision; for `auto`, the faster one."""
    return fastest_precision(accelerator, encoder) if requested == "auto" else requested


def fastest_precision(accelerator: str, encoder: nn.Module | None = None) -> Precision:
    """`bf16-mixed` where it is faster, `32-true` elsewhere.

    On a CPU it is faster with native bfloat16 arithmetic (emulation is 20 × slower) and an encoder without depthwise
    convolutions: those gain nothing at 96 px and take twice as long at 48 px, where dense ones gain 1.5 to 2 ×.
    """
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return "bf16-mixed" if has_bf16("cuda") else "32-true"
    if accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if has_bf16("cpu") and not _has_depthwise(encoder) else "32-true"


def _has_depthwise(encoder: nn.Module | None) -> bool:
    parts = encoder.modules() if encoder is not None else ()
    return any(isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 for part in parts)
