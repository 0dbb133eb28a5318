"""Integrated gradients of the similarity, one side at a time, with the error of the integral."""

import torch
from captum.attr import IntegratedGradients
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.explain.attribution.encoded_images import EncodedImages, domain_tags
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE, OCCLUSION_BATCH

INTEGRATION_STEPS = 32


class _ImageSimilarity(nn.Module):
    """Cosine between images of one side and constant embeddings of the other."""

    def __init__(self, side: EncodedImages) -> None:
        super().__init__()
        self.encoder, self.side = side.encoder, side

    def forward(self, image: Tensor, others: Tensor) -> Tensor:
        embedding = self.encoder(image, domain_tags(image, self.side.domain)) - self.side.centre
        return torch.cosine_similarity(embedding, others)


def integrated_gradients(
    side: EncodedImages,
    images: Float[Tensor, "k 3 h w"],
    others: Float[Tensor, "k d"],
    steps: int = INTEGRATION_STEPS,
) -> tuple[Float[Tensor, "k h w"], Float[Tensor, " k"]]:
    """What each pixel adds to k similarities on the way from an empty image, and the error of each sum.

    The path starts at white paper for drawings and at mid-grey for photos: black would be the heaviest
    stroke of all. A map plus its error sums to score less the empty image's score.
    (Sundararajan et al., ICML 2017, eq. 1 and proposition 1.)

    Args:
        images: of that side's domain.
        others: embeddings of the other side, one an image.
        steps: points of the integral (Gauss–Legendre).
    """
    method = IntegratedGradients(_ImageSimilarity(side))
    maps, errors = method.attribute(
        images.detach().clone().requires_grad_(),
        baselines=COVER_VALUE[side.domain],
        additional_forward_args=(others.detach(),),
        n_steps=steps,
        internal_batch_size=max(OCCLUSION_BATCH, len(images)),
        return_convergence_delta=True,
    )
    return maps.detach().sum(1).float(), -errors.detach().float()
