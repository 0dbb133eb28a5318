"""Grad-CAM on the similarity of a pair, the other side's embedding held constant."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import LayerGradCam
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.encoded_images import EncodedImages, domain_tags
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
    """Grad-CAM of k similarities: how much each place pulls its image towards the other one; signed.

    The gradient stops at the feature map, so a backbone runs once for an image and not once for a pair.
    (Selvaraju et al., ICCV 2017, eq. 1–2, with the similarity in place of a class score.)

    Args:
        maps: feature maps whose spatial mean is the embedding.
        others: embeddings of the other side, one a map.
    """
    model = _PooledSimilarity(others.detach())
    seen = maps.detach().clone().requires_grad_()
    cam = LayerGradCam(model, model.features).attribute(seen, relu_attributions=False)
    return cam[:, 0].detach()


def token_gradcam(
    side: EncodedImages, images: Float[Tensor, "k 3 h w"], others: Float[Tensor, "k d"]
) -> Float[Tensor, "k r c"]:
    """Grad-CAM of k similarities at the patch tokens that enter a vision transformer's last block; signed.

    There the class token has yet to read the patches. Class and register tokens are left out of the map and of the
    means of gradients, as the places of a CNN's map are all there is.

    Args:
        images: of that side's domain.
        others: embeddings of the other side, one an image.

    Raises:
        ExplainError: the encoder has no row of blocks with attention.
    """
    block = last_block(side.encoder, side.domain)
    if block is None:
        raise ExplainError("gradcam: the encoder has no row of blocks with attention", "Choose occlusion.")
    with torch.no_grad():
        grid = side.encoder.feature_map(images[:1], domain_tags(images[:1], side.domain)).shape[2:]
    model = _TokenSimilarity(side)
    with _expose_patches(block, model.patches, grid.numel()):
        cams = [
            LayerGradCam(model, model.patches).attribute(
                image, additional_forward_args=(other.detach(),), relu_attributions=False
            )
            for image, other in zip(images.split(OCCLUSION_BATCH), others.split(OCCLUSION_BATCH), strict=True)
        ]
    return torch.cat(cams)[:, 0].detach().unflatten(1, tuple(grid))


class _TokenSimilarity(nn.Module):
    """Cosine between images of one side and constant embeddings; captum hooks `patches`."""

    def __init__(self, side: EncodedImages) -> None:
        super().__init__()
        self.encoder, self.side, self.patches = side.encoder, side, nn.Identity()

    def forward(self, image: Tensor, others: Tensor) -> Tensor:
        embedding = self.encoder(image, domain_tags(image, self.side.domain)) - self.side.centre
        return torch.cosine_similarity(embedding, others)


@contextmanager
def _expose_patches(block: nn.Module, patches: nn.Identity, count: int) -> Iterator[None]:
    """While inside, the block's patch tokens pass through `patches` as [b, width, patches]."""

    def pass_through_patches(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        tokens, *rest = inputs
        first, last = tokens[:, :-count], tokens[:, -count:]
        return torch.cat([first, patches(last.transpose(1, 2)).transpose(1, 2)], 1), *rest

    handle = block.register_forward_pre_hook(pass_through_patches)
    try:
        yield
    finally:
        handle.remove()
