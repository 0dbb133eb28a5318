"""The trust in a page's maps, from their tests and from what becomes of them when weights or pictures change."""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.explanation import Explanation
from ssl_sbir.explain.sanity import STAGES, randomised
from ssl_sbir.explain.stability import stability
from ssl_sbir.explain.towers import Centres
from ssl_sbir.explain.trust import Trust, trust

# Methods that are computed again and again for all results; others for the first result alone.
QUICK = ("gradcam", "regions", "strokes", "attention")


def examined(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    known: Sequence[Explanation],
    centres: Centres | None = None,
) -> Trust | None:
    """The trust in the maps of k results; of several methods, the first one's maps are computed again.

    Args:
        known: the explanations of these photos, with their checks.
    """
    errors = [
        abs(error)
        for one in known
        for seen in one.maps
        for error in (seen.sketch_error, seen.photo_error)
        if error is not None
    ]
    first, stages = known[0].maps[0], STAGES
    if first.method not in QUICK:
        photos, stages = photos[:1], 2
    lots = randomised(encoder, sketch, photos, first.method, centres=centres, stages=stages)
    steady = stability(encoder, sketch, photos, first.method, centres=centres)
    if first.sketch is None:  # what isn't shown isn't judged
        lots, steady = [replace(one, drawing=None) for one in lots], (None, steady[1])
    return trust([one.checks for one in known], lots, steady, max(errors, default=None))
