"""How far a page's maps can be trusted, from their tests and from shuffled weights and shifted images."""

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

# Methods whose maps are recomputed for all results; slower ones only for the first result, in fewer stages.
QUICK_METHODS = ("gradcam", "regions", "strokes", "attention")
SLOW_METHOD_STAGES = 2


def examine_trust(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    explanations: Sequence[Explanation],
    centres: Centres | None = None,
) -> TrustAssessment | None:
    """The assessment of the maps of k results; only the first method's maps are recomputed.

    Args:
        explanations: of these photos, with their checks.
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
        photos, stages = photos[:1], SLOW_METHOD_STAGES
    randomized = randomization_agreement(
        encoder, sketch, photos, first.method, centres=centres, stages=stages
    )
    stability = shift_stability(encoder, sketch, photos, first.method, centres=centres)
    if first.sketch is None:  # the page shows no map of the drawing, so none is assessed
        randomized, stability = [replace(one, drawing=None) for one in randomized], (None, stability[1])
    return assess_trust(
        [one.checks for one in explanations], randomized, stability, max(errors, default=None)
    )
