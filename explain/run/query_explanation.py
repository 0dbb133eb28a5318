"""The results of one query and their explanations, before they become a page's facts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.explain.faithfulness.trust_verdict import TrustAssessment
from ssl_sbir.explain.pair.explanation import Explanation
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.run.query_drawing import QueryDrawing
from ssl_sbir.explain.text.text_reading import TextReading
from ssl_sbir.explain.text.word_contributions import Counterfactual


@dataclass(frozen=True)
class SearchExplanation:
    """The results of one query and their explanations.

    Attributes:
        drawing: the query's drawing; None for a text alone.
        pixels: the drawing as the encoder sees it, uint8 [size, size, 3]; None without one.
        text: the query's sentence; empty for none.
        rows: the results' rows in the manifest, best first.
        scores: similarity of the query to each photo of the gallery.
        explanations: one for each result.
        contrasts: the best result against each beaten photo.
        beaten_rows: the beaten photos' rows in the manifest.
        counterfactuals: changes of the text, and the order that each would give.
        trust: how far the maps can be trusted; None if they weren't tested.
        reading: what the text means to the encoder; None unless it is read by a vocabulary.
    """

    drawing: QueryDrawing | None
    pixels: npt.NDArray[np.uint8] | None
    text: str
    rows: npt.NDArray[np.int64]
    scores: Float[Tensor, " n"]
    explanations: tuple[Explanation, ...]
    contrasts: tuple[PhotoContrast, ...]
    beaten_rows: npt.NDArray[np.int64]
    counterfactuals: tuple[Counterfactual, ...]
    trust: TrustAssessment | None
    reading: TextReading | None
