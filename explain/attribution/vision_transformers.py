"""The modules of a vision transformer that heat maps need: its attention modules and its last block."""

from typing import Any

from torch import nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder


def has_attention(encoder: Encoder) -> bool:
    """Whether the encoder's attention can be read for drawings and for photos."""
    return all(attention_modules(encoder, domain) for domain in Domain)


def inner_network(encoder: Encoder, domain: Domain) -> Any:
    """The backbone inside projection heads, domain centring and two-tower encoders."""
    inner: Any = encoder
    while not (hasattr(inner, "backbone") or hasattr(inner, "model")):
        name = "encoder" if hasattr(inner, "encoder") else domain.name.lower()
        if not isinstance(getattr(inner, name, None), nn.Module):
            return inner
        inner = getattr(inner, name)
    return inner


def is_transformers_model(core: Any) -> bool:
    """Whether a network wraps a model of the transformers library."""
    return hasattr(core, "model") and hasattr(core.model, "config")


def attention_modules(encoder: Encoder, domain: Domain) -> list[nn.Module]:
    """The attention modules of a timm model (those whose dropout receives the attention) or a transformers model."""
    core = inner_network(encoder, domain)
    if is_transformers_model(core):
        return [part for part in core.modules() if _is_transformers_attention(part)]
    return [part for part in core.modules() if hasattr(part, "fused_attn") and hasattr(part, "attn_drop")]


def last_block(encoder: Encoder, domain: Domain) -> nn.Module | None:
    """The last of a stack of blocks that hold one attention module each; None if there is no such stack."""
    attentions = {id(part) for part in attention_modules(encoder, domain)}
    for stack in inner_network(encoder, domain).modules():
        if isinstance(stack, nn.ModuleList | nn.Sequential) and len(stack) == len(attentions) > 0:
            has_one = [any(id(part) in attentions for part in block.modules()) for block in stack]
            if all(has_one):
                return stack[-1]
    return None


def _is_transformers_attention(part: nn.Module) -> bool:
    return hasattr(part, "config") and any(
        hasattr(part, name) for name in ("k_proj", "key", "qkv", "query", "q_proj")
    )
