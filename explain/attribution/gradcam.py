"""Grad-CAM on the similarity of a pair; the other side's embedding is constant."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.encoded_images import EncodedImages, SideSimilarity, domain_tags
from ssl_sbir.explain.attribution.occlusion import OCCLUSION_BATCH
from ssl_sbir.explain.attribution.vision_transformers import last_block


class _PooledSimilarity(nn.Module):
    """Cosine between pooled feature maps and constant embeddings; captum hooks `features`."""

    def __init__(self, others: Tensor) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.register_buffer("others", others, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cosine_similarity(self.features(maps).mean((2, 3)), self.get_buffer("others"))


def feature_gradcam(maps: Float[Tensor, "k d h w"], others: Float[Tensor, "k d"]) -> Float[Tensor, "k h w"]:
    """Grad-CAM of k similarities, signed: how much each cell of the feature map raises the similarity.

    The gradient stops at the feature map, so the backbone runs once per image instead of once per pair.
    (Selvaraju et al., ICCV 2017, eq. 1–2, with the similarity in place of a class score.)

    Args:
        maps: feature maps whose spatial mean is the embedding.
        others: embeddings of the other side, one for each map.
    """
    from captum.attr import LayerGradCam

    model = _PooledSimilarity(others.detach())
    inputs = maps.detach().clone().requires_grad_()
    cam = LayerGradCam(model, model.features).attribute(inputs, relu_attributions=False)
    return cam[:, 0].detach()


def token_gradcam(
    side: EncodedImages, images: Float[Tensor, "k 3 h w"], others: Float[Tensor, "k d"]
) -> Float[Tensor, "k r c"]:
    """Grad-CAM of k similarities at the patch tokens that enter a vision transformer's last block, signed.

    At this depth the class token hasn't read these patch tokens yet. Class and register tokens are left out of the
    map and of the mean gradients: they have no position, and a CNN's map has no such cells.

    Args:
        images: of this side's domain.
        others: embeddings of the other side, one for each image.

    Raises:
        ExplainError: the encoder is no stack of blocks with attention.
    """
    from captum.attr import LayerGradCam

    block = last_block(side.encoder, side.domain)
    if block is None:
        raise ExplainError("gradcam: the encoder is no stack of blocks with attention", "Choose occlusion.")
    with torch.no_grad():
        grid = side.encoder.feature_map(images[:1], domain_tags(images[:1], side.domain)).shape[2:]
    model, patches = SideSimilarity(side), nn.Identity()
    with _expose_patches(block, patches, grid.numel()):
        cams = [
            LayerGradCam(model, patches).attribute(
                image, additional_forward_args=(other.detach(),), relu_attributions=False
            )
            for image, other in zip(images.split(OCCLUSION_BATCH), others.split(OCCLUSION_BATCH), strict=True)
        ]
    return torch.cat(cams)[:, 0].detach().unflatten(1, tuple(grid))


@contextmanager
def _expose_patches(block: nn.Module, patches: nn.Identity, count: int) -> Iterator[None]:
    """Within the context, the block's patch tokens pass through `patches` as [b, width, patches]; captum hooks it."""

    def pass_through_patches(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        tokens, *rest = inputs
        first, last = tokens[:, :-count], tokens[:, -count:]
        return torch.cat([first, patches(last.transpose(1, 2)).transpose(1, 2)], 1), *rest

    handle = block.register_forward_pre_hook(pass_through_patches)
    try:
        yield
    finally:
        handle.remove()
