"""The facts of an explanation as plain JSON-able values; a page only displays them."""

from dataclasses import dataclass

from ssl_sbir.explain.attribution.grids import Grid
from ssl_sbir.explain.attribution.region_pairs import Regions
from ssl_sbir.explain.faithfulness.faithfulness_tests import FaithfulnessCheck
from ssl_sbir.explain.faithfulness.trust_verdict import TrustAssessment
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.text.nearest_concepts import PairConcepts
from ssl_sbir.explain.text.text_answer import TextAnswer
from ssl_sbir.explain.text.text_reading import TextReading
from ssl_sbir.explain.text.word_contributions import Counterfactual, WordWeights


@dataclass(frozen=True)
class HeatMaps:
    """One method's heat maps of both sides of a pair.

    Attributes:
        method: a name of `EXPLANATION_METHODS`.
        sketch: [h, w], 0..1 with 1 for the strongest cell, or −1..1 if signed; None if the method doesn't map
            this side.
        photo: the same for the photo.
        sketch_peak: the value that 1 stands for, in the method's own unit; 0 if the map is empty.
        photo_peak: the same for the photo.
        sketch_error: for integrated gradients, expected sum of the drawing's map minus its actual sum.
        photo_error: the same for the photo.
    """

    method: str
    sketch: Grid | None
    photo: Grid | None
    sketch_peak: float | None
    photo_peak: float | None
    sketch_error: float | None = None
    photo_error: float | None = None


@dataclass(frozen=True)
class Explanation:
    """The explanation of one photo's similarity to a drawing, a text, or both.

    Attributes:
        query: id of the drawing, or the text without one.
        result: id of the photo.
        score: cosine of query and photo, −1..1, after subtracting the centres, if any.
        parts: how much each part of the query adds to the score; a drawing or a text alone has one part, and beside a
            drawing a text's is the change of the score of the drawing alone.
        maps: heat maps, one entry for each method.
        regions: the decomposition into region pairs; None for an encoder without feature maps.
        methods: that were computed.
        warnings: what is missing or doubtful, in sentences.
        checks: the faithfulness tests of each map.
        words: how much each word of the text adds; None without a text.
        answer: the text's part of the score, by classes and regions; None without a text that is understood.
        concepts: the concepts nearest to drawing and photo; None without a vocabulary.
    """

    query: str
    result: str
    score: float
    parts: dict[str, float]
    maps: tuple[HeatMaps, ...]
    regions: Regions | None
    methods: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    checks: tuple[FaithfulnessCheck, ...] = ()
    words: WordWeights | None = None
    concepts: PairConcepts | None = None
    answer: TextAnswer | None = None


@dataclass(frozen=True)
class ExplainedResult:
    """One photo of the results with its explanation.

    Attributes:
        rank: 1 for the best.
        id: of the photo.
        label: its class; None if unknown.
        same_class: whether drawing and photo share a class; None if a class is unknown. It is shown to the reader
            and never used by the explanation.
    """

    rank: int
    id: str
    label: str | None
    same_class: bool | None
    explanation: Explanation


@dataclass(frozen=True)
class GalleryScores:
    """The number of photos searched, and their lowest, mean and highest score."""

    size: int
    lowest: float
    average: float
    highest: float


@dataclass(frozen=True)
class ExplainedQuery:
    """All facts of one query's page, JSON-able.

    Attributes:
        query: id of the drawing, or the text without one.
        label: the drawing's class; None if unknown.
        verdict: one or two sentences for readers who don't know saliency maps.
        settings: how the explanation was computed, name → value.
        warnings: what is missing or doubtful about the whole query.
        text: the query's sentence; empty for none.
        contrasts: why the first result beat photos that just missed the list, or the expected one.
        changes: changes of the text, and the order that each would give.
        trust: how far the maps can be trusted; None if they weren't tested.
        share: the drawing's weight beside the text, 0 to 1; None unless there are both, or if no word was understood.
        reading: what the text means to the encoder; None unless it is read by a vocabulary.
    """

    query: str
    label: str | None
    verdict: str
    gallery: GalleryScores
    results: tuple[ExplainedResult, ...]
    settings: dict[str, str]
    warnings: tuple[str, ...] = ()
    text: str = ""
    contrasts: tuple[PhotoContrast, ...] = ()
    changes: tuple[Counterfactual, ...] = ()
    trust: TrustAssessment | None = None
    share: float | None = None
    reading: TextReading | None = None
