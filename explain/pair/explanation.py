"""What is known about why a photo came back: plain facts that JSON can hold and a report only draws."""

from dataclasses import dataclass

from ssl_sbir.explain.attribution.grids import Grid
from ssl_sbir.explain.attribution.region_pairs import Regions
from ssl_sbir.explain.faithfulness.faithfulness_tests import FaithfulnessCheck
from ssl_sbir.explain.faithfulness.trust_verdict import TrustAssessment
from ssl_sbir.explain.pair.why_not import PhotoContrast
from ssl_sbir.explain.text.nearest_concepts import PairConcepts
from ssl_sbir.explain.text.word_contributions import Counterfactual, WordWeights


@dataclass(frozen=True)
class HeatMaps:
    """Where one method sees the similarity come from, on both sides of a pair.

    Attributes:
        method: as `METHODS` has it.
        sketch: [h, w] floats; 0..1 with 1 the strongest place, or −1..1 where signed; None where the method
            doesn't speak of this side.
        photo: the same for the photo.
        sketch_peak: what 1 stands for, in the method's own unit; 0 where the map is empty.
        photo_peak: the same for the photo.
        sketch_error: for integrated gradients, what the drawing's map lacks of the sum it should have.
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
    """Why one photo is as similar as it is to one drawing.

    Attributes:
        query: id of the drawing.
        result: id of the photo.
        score: cosine of the two embeddings, −1..1, after the centres were subtracted, if any.
        parts: what each part of the query adds to the score; a drawing alone has one part.
        maps: heat maps, one a method.
        regions: the region-pair decomposition, or None for an encoder without feature maps.
        methods: what was computed.
        warnings: what is missing or doubtful, in words.
        checks: how faithful each map is, tested against random maps and a map of edges.
        words: what each word of the text adds; None without a text.
        concepts: the ideas near drawing and photo; None without a vocabulary.
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


@dataclass(frozen=True)
class ExplainedResult:
    """One photo that came back: its place, its id and class if known, and why.

    Attributes:
        same_class: whether drawing and photo share a class; None where a class is unknown. It is
            shown to the reader and never used by the explanation.
    """

    rank: int
    id: str
    label: str | None
    same_class: bool | None
    explanation: Explanation


@dataclass(frozen=True)
class GalleryScores:
    """What the drawing was compared with: how many photos, and their lowest, mean and highest score."""

    size: int
    lowest: float
    average: float
    highest: float


@dataclass(frozen=True)
class ExplainedQuery:
    """All facts of one query's page, JSON-able.

    Attributes:
        query: id of the drawing.
        label: its class, if known.
        verdict: one or two sentences for somebody who knows nothing of saliency.
        settings: how the answer was computed, as name → value.
        warnings: what is missing or doubtful about the whole query.
        text: the sentence beside the drawing; empty for none.
        contrasts: why the first result beat photos that just missed the list, or the expected one.
        changes: changes of the text that would change the order.
        trust: how far the maps can be trusted; None where that wasn't tested.
        share: how much the drawing counted beside the text, 0 to 1; None where there is no text, or none was read.
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
