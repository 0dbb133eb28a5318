"""Integrated gradients of the similarity for one side at a time, with the error of the integral."""

from jaxtyping import Float
from torch import Tensor

from ssl_sbir.explain.attribution.encoded_images import EncodedImages, SideSimilarity
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE, OCCLUSION_BATCH

INTEGRATION_STEPS = 32


def integrated_gradients(
    side: EncodedImages,
    images: Float[Tensor, "k 3 h w"],
    others: Float[Tensor, "k d"],
    steps: int = INTEGRATION_STEPS,
) -> tuple[Float[Tensor, "k h w"], Float[Tensor, " k"]]:
    """Each pixel's contribution to k similarities, integrated from a blank image, and the error of each sum.

    The path starts at white paper for drawings and at mid-grey for photos, since black is the colour of strokes.
    The sum of a map plus its error is the score minus the blank image's score.
    (Sundararajan et al., ICML 2017, eq. 1 and proposition 1.)

    Args:
        images: of this side's domain.
        others: embeddings of the other side, one for each image.
        steps: points of the integral (Gauss–Legendre).
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(SideSimilarity(side))
    maps, errors = method.attribute(
        images.detach().clone().requires_grad_(),
        baselines=COVER_VALUE[side.domain],
        additional_forward_args=(others.detach(),),
        n_steps=steps,
        internal_batch_size=max(OCCLUSION_BATCH, len(images)),
        return_convergence_delta=True,
    )
    return maps.detach().sum(1).float(), -errors.detach().float()
