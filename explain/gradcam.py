"""Grad-CAM on the similarity of a pair, the other side's embedding held constant."""

import torch
from captum.attr import LayerGradCam
from jaxtyping import Float
from torch import Tensor, nn


class _Similarity(nn.Module):
    """Cosine between pooled feature maps and constant embeddings; captum hooks `features`."""

    def __init__(self, others: Tensor) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.register_buffer("others", others, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cosine_similarity(self.features(maps).mean((2, 3)), self.get_buffer("others"))


def gradcam(maps: Float[Tensor, "k d h w"], others: Float[Tensor, "k d"]) -> Float[Tensor, "k h w"]:
    """Grad-CAM of k similarities: how much each place pulls its image towards the other one; signed.

    The gradient stops at the feature map, so a backbone runs once for an image and not once for a pair.
    (Selvaraju et al., ICCV 2017, eq. 1–2, with the similarity in place of a class score.)

    Args:
        maps: feature maps whose spatial mean is the embedding.
        others: embeddings of the other side, one a map.
    """
    model = _Similarity(others.detach())
    seen = maps.detach().clone().requires_grad_()
    cam = LayerGradCam(model, model.features).attribute(seen, relu_attributions=False)
    return cam[:, 0].detach()
