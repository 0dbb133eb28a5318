"""The parts of a vision transformer that maps are read from: its attention modules and its last block."""

from typing import Any

from torch import nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder


def has_attention(encoder: Encoder) -> bool:
    """Whether attention can be read on both sides."""
    return all(attention_modules(encoder, domain) for domain in Domain)


def inner_network(encoder: Encoder, domain: Domain) -> Any:
    """The network inside heads, centring and towers."""
    inner: Any = encoder
    while not (hasattr(inner, "backbone") or hasattr(inner, "model")):
        name = "encoder" if hasattr(inner, "encoder") else domain.name.lower()
        if not isinstance(getattr(inner, name, None), nn.Module):
            return inner
        inner = getattr(inner, name)
    return inner


def is_transformers_model(core: Any) -> bool:
    """Whether a network is a model of the library transformers."""
    return hasattr(core, "model") and hasattr(core.model, "config")


def attention_modules(encoder: Encoder, domain: Domain) -> list[nn.Module]:
    """The attention modules of timm's models (those whose dropout sees the attention) or of transformers'."""
    core = inner_network(encoder, domain)
    if is_transformers_model(core):
        return [part for part in core.modules() if _is_transformers_attention(part)]
    return [part for part in core.modules() if hasattr(part, "fused_attn") and hasattr(part, "attn_drop")]


def last_block(encoder: Encoder, domain: Domain) -> nn.Module | None:
    """The last of the blocks that hold one attention module each; None where there is no such row of blocks."""
    found = {id(part) for part in attention_modules(encoder, domain)}
    for row in inner_network(encoder, domain).modules():
        if isinstance(row, nn.ModuleList | nn.Sequential) and len(row) == len(found) > 0:
            held = [any(id(part) in found for part in block.modules()) for block in row]
            if all(held):
                return row[-1]
    return None


def _is_transformers_attention(part: nn.Module) -> bool:
    return hasattr(part, "config") and any(
        hasattr(part, name) for name in ("k_proj", "key", "qkv", "query", "q_proj")
    )
