"""What is known about why a photo came back: plain facts that JSON can hold and a report only draws."""

from dataclasses import dataclass

Grid = tuple[tuple[float, ...], ...]
Cell = tuple[int, int]


@dataclass(frozen=True)
class HeatMaps:
    """Where one method sees the similarity come from, on both sides of a pair.

    Attributes:
        method: `gradcam` or `occlusion`.
        sketch: [h, w] floats; 0..1 with 1 the strongest place, or −1..1 where signed.
        photo: the same for the photo.
        sketch_peak: what 1 stands for, in the method's own unit; 0 where the map is empty.
        photo_peak: the same for the photo.
    """

    method: str
    sketch: Grid
    photo: Grid
    sketch_peak: float
    photo_peak: float


@dataclass(frozen=True)
class RegionPair:
    """One drawing region and one photo region (row, column) and what the two add to the score together."""

    sketch: Cell
    photo: Cell
    score: float


@dataclass(frozen=True)
class Regions:
    """The score taken apart into pairs of regions, exactly.

    Attributes:
        sketch: [h, w], what each region of the drawing adds; these sum to the score.
        photo: [h, w], what each region of the photo adds; these sum to the score too.
        strongest: the pairs that add most, no region twice, strongest first.
        delta: sum of all pairs minus the score: the error of the decomposition.
    """

    sketch: Grid
    photo: Grid
    strongest: tuple[RegionPair, ...]
    delta: float


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
    """

    query: str
    result: str
    score: float
    parts: dict[str, float]
    maps: tuple[HeatMaps, ...]
    regions: Regions | None
    methods: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
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
    """

    query: str
    label: str | None
    verdict: str
    gallery: GalleryScores
    results: tuple[Result, ...]
    settings: dict[str, str]
    warnings: tuple[str, ...] = ()
