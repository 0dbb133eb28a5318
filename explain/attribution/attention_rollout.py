"""Attention rollout: how much each patch contributes to a vision transformer's embedding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.encoded_images import domain_tags
from ssl_sbir.explain.attribution.vision_transformers import (
    attention_modules,
    inner_network,
    is_transformers_model,
)


def attention_rollout(
    encoder: Encoder, image: Float[Tensor, "b 3 h w"], domain: Domain
) -> Float[Tensor, "b r c"]:
    """Each patch's share in the embedding by attention alone, [b, rows, columns]; the other image plays no part.

    Attention matrices are averaged over heads, mixed half and half with the residual path, and multiplied over
    the layers (Abnar & Zuidema, ACL 2020, eq. 1–2).

    Raises:
        ExplainError: the encoder has no readable attention over the whole image.
    """
    with _record_attention(encoder, domain) as layers, torch.no_grad():
        # The feature map has one cell a patch, for every model.
        grid = encoder.feature_map(image, domain_tags(image, domain)).shape[2:]
    if not layers or len({layer.shape for layer in layers}) != 1 or layers[0].shape[-1] < grid.numel():
        raise ExplainError("attention: the encoder has none over the whole image", "Choose occlusion.")
    flow = _attention_flow(layers)
    patches = flow[:, :, -grid.numel() :]
    # A model with a class token pools that token; others average over all patches.
    pooled = patches[:, 0] if flow.shape[-1] > grid.numel() else patches.mean(1)
    return pooled.unflatten(1, tuple(grid))


def _attention_flow(layers: list[Tensor]) -> Tensor:
    flow = torch.eye(layers[0].shape[-1]).to(layers[0]).expand(len(layers[0]), -1, -1)
    for layer in layers:
        mixed = 0.5 * layer.mean(1) + 0.5 * torch.eye(layer.shape[-1]).to(layer)
        flow = mixed / mixed.sum(-1, keepdim=True) @ flow
    return flow


def _attention_weights(output: Any) -> list[Tensor]:
    """The attention weights [b, heads, n, n] in the output of a module of transformers."""
    parts = output if isinstance(output, tuple) else ()
    return [part for part in parts[1:] if isinstance(part, Tensor) and part.ndim == 4]


@contextmanager
def _record_attention(encoder: Encoder, domain: Domain) -> Iterator[list[Tensor]]:
    layers: list[Tensor] = []
    blocks, core = attention_modules(encoder, domain), inner_network(encoder, domain)
    if is_transformers_model(core):
        with (
            _eager_attention(core.model),
            _forward_hooks(blocks, lambda _, __, out: layers.extend(_attention_weights(out))),
        ):
            yield layers
    else:
        drops = [block.get_submodule("attn_drop") for block in blocks]
        with _without_fused_attention(blocks), _forward_hooks(drops, lambda _, __, out: layers.append(out)):
            yield layers


@contextmanager
def _forward_hooks(modules: list[nn.Module], hook: Any) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _without_fused_attention(blocks: list[Any]) -> Iterator[None]:
    before = [block.fused_attn for block in blocks]
    try:
        for block in blocks:
            block.fused_attn = False
        yield
    finally:
        for block, fused in zip(blocks, before, strict=True):
            block.fused_attn = fused


@contextmanager
def _eager_attention(model: Any) -> Iterator[None]:
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation("eager")
        yield
    finally:
        model.set_attn_implementation(before)
