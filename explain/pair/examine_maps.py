"""The trust in a page's maps, from their tests and from what becomes of them when weights or pictures change."""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.attribution.encoded_images import Centres
from ssl_sbir.explain.faithfulness.stability import shift_stability
from ssl_sbir.explain.faithfulness.trust_verdict import TrustAssessment, assess_trust
from ssl_sbir.explain.faithfulness.weight_randomization import RANDOMIZATION_STAGES, randomization_agreement
from ssl_sbir.explain.pair.explanation import Explanation

# Methods that are computed again and again for all results; others for the first result alone.
QUICK_METHODS = ("gradcam", "regions", "strokes", "attention")


def examine_trust(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    explanations: Sequence[Explanation],
    centres: Centres | None = None,
) -> TrustAssessment | None:
    """The trust in the maps of k results; of several methods, the first one's maps are computed again.

    Args:
        explanations: the explanations of these photos, with their checks.
    """
    errors = [
        abs(error)
        for one in explanations
        for seen in one.maps
        for error in (seen.sketch_error, seen.photo_error)
        if error is not None
    ]
    first, stages = explanations[0].maps[0], RANDOMIZATION_STAGES
    if first.method not in QUICK_METHODS:
        photos, stages = photos[:1], 2
    lots = randomization_agreement(encoder, sketch, photos, first.method, centres=centres, stages=stages)
    steady = shift_stability(encoder, sketch, photos, first.method, centres=centres)
    if first.sketch is None:  # what isn't shown isn't judged
        lots, steady = [replace(one, drawing=None) for one in lots], (None, steady[1])
    return assess_trust([one.checks for one in explanations], lots, steady, max(errors, default=None))
