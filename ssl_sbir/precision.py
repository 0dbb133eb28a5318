"""Where arithmetic in bfloat16 is real and not emulated."""

import torch


def has_bf16(device: str | torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself: emulation takes up to 20 times as long as 32 bit."""
    kind = torch.device(device).type
    if kind == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
