"""What came back for one query, and why, before it becomes a page's facts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.explain.faithfulness.trust_verdict import TrustAssessment
from ssl_sbir.explain.pair.explanation import Explanation
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.run.query_drawing import QueryDrawing
from ssl_sbir.explain.text.word_contributions import Counterfactual


@dataclass(frozen=True)
class SearchExplanation:
    """What came back for one query, and why; `rows` are the results' rows in the manifest.

    Attributes:
        scores: similarity of the query to each photo of the gallery.
        contrasts: the best result against what was beaten, with the rows of those.
    """

    drawing: QueryDrawing
    pixels: npt.NDArray[np.uint8]
    text: str
    rows: npt.NDArray[np.int64]
    scores: Float[Tensor, " n"]
    explanations: tuple[Explanation, ...]
    contrasts: tuple[PhotoContrast, ...]
    beaten_rows: npt.NDArray[np.int64]
    counterfactuals: tuple[Counterfactual, ...]
    trust: TrustAssessment | None
