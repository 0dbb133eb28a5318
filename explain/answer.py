"""What came back for one query, and why, before it becomes a page's facts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.explain.contrast import Contrast
from ssl_sbir.explain.drawings import Drawing
from ssl_sbir.explain.explanation import Explanation
from ssl_sbir.explain.query_words import Counterfactual
from ssl_sbir.explain.trust import Trust


@dataclass(frozen=True)
class Answer:
    """What came back for one query, and why; `rows` are the results' rows in the manifest.

    Attributes:
        scores: similarity of the query to each photo of the gallery.
        contrasts: the best result against what was beaten, with the rows of those.
    """

    asked: Drawing
    pixels: npt.NDArray[np.uint8]
    text: str
    rows: npt.NDArray[np.int64]
    scores: Float[Tensor, " n"]
    known: tuple[Explanation, ...]
    contrasts: tuple[Contrast, ...]
    beaten: npt.NDArray[np.int64]
    changes: tuple[Counterfactual, ...]
    trust: Trust | None
