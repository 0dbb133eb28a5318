"""Explanations of one drawing and several photos; each image is embedded once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.explain.attribution.encoded_images import Centres, EncodedImages, encode_images
from ssl_sbir.explain.attribution.grids import to_grid
from ssl_sbir.explain.attribution.heat_maps import (
    DEFAULT_METHOD_MAPS,
    METHOD_MAPS,
    SideMaps,
    choose_methods,
    require_feature_maps,
)
from ssl_sbir.explain.attribution.region_pairs import Regions, decompose_regions
from ssl_sbir.explain.faithfulness.faithfulness_tests import (
    BaselineAreas,
    FaithfulnessCheck,
    evaluate_faithfulness,
)
from ssl_sbir.explain.pair.explanation import Explanation, HeatMaps

EXPLANATION_METHODS = tuple(METHOD_MAPS)
# A map with a lower peak is rounding noise, which scaling to 0..1 would make look like evidence.
EMPTY_MAP_PEAK = 1e-6
# Finer maps look the same on the page and would make its facts much larger.
FINEST_MAP_SIDE = 32


def explain_pairs(
    encoder: Encoder,
    sketch: Float[Tensor, "3 h w"],
    photos: Float[Tensor, "k 3 i j"],
    *,
    methods: Sequence[str] | None = None,
    query: str = "drawing",
    results: Sequence[str] | None = None,
    centres: Centres | None = None,
    pairs: int = 5,
    signed: bool = False,
    draws: int = 0,
    strokes: Bool[Tensor, "p h w"] | None = None,
) -> list[Explanation]:
    """One explanation for each photo, in the order of the photos.

    Args:
        encoder: any encoder; it runs in evaluation mode and is left as it was.
        sketch: the drawing, in 0..1.
        photos: the photos, in 0..1.
        methods: of `gradcam`, `regions`, `occlusion`, `strokes`, `integrated` and `attention`; None takes the maps
            that passed the faithfulness study (docs/faithfulness.md): occlusion, on the photos only.
        query: id of the drawing.
        results: ids of the photos; their indices by default.
        centres: vectors to subtract from each domain's embeddings.
        pairs: number of strongest region pairs to list.
        signed: keep negative values of the heat maps, which lower the similarity.
        draws: random maps that each map is tested against; 0 skips the tests.
        strokes: the strokes of a vector drawing; the drawing's connected ink by default.

    Raises:
        ExplainError: a method is unknown, or this encoder doesn't support it.
    """
    with _evaluation_mode(encoder):
        ours = replace(encode_images(encoder, sketch[None], Domain.SKETCH, centres), strokes=strokes)
        theirs = encode_images(encoder, photos, Domain.PHOTO, centres)
        names, warnings = choose_methods(None if methods is None else tuple(methods), ours, theirs)
        scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
        functions = DEFAULT_METHOD_MAPS if methods is None else METHOD_MAPS
        side_maps = {method: functions[method](ours, theirs) for method in names} if len(photos) else {}
        checks = _evaluate_maps(side_maps, ours, theirs, draws)
    heat_maps = [_to_heat_maps(method, maps, signed) for method, maps in side_maps.items()]
    has_features = len(photos) and ours.features is not None and theirs.features is not None
    regions = _pair_regions(ours, theirs, scores, pairs) if has_features else [None] * len(photos)
    ids = results if results is not None else [str(row) for row in range(len(photos))]
    return [
        Explanation(
            query,
            name,
            score,
            {"drawing": score},
            tuple(maps),
            pair_regions,
            names,
            (*warnings, *_map_warnings(score, maps)),
            tuple(pair_checks),
        )
        for name, score, pair_regions, pair_checks, *maps in zip(
            ids, scores.tolist(), regions, checks, *heat_maps, strict=True
        )
    ]


def _evaluate_maps(
    side_maps: Mapping[str, SideMaps], sketch: EncodedImages, photos: EncodedImages, draws: int
) -> list[list[FaithfulnessCheck]]:
    checks: list[list[FaithfulnessCheck]] = [[] for _ in photos.image]
    if not draws or not side_maps:
        return checks
    areas = BaselineAreas(sketch, photos.embedding, draws), BaselineAreas(photos, sketch.embedding, draws)
    for method, maps in side_maps.items():
        for side, values, other, baselines in (
            (sketch, maps.sketch, photos.embedding, areas[0]),
            (photos, maps.photo, sketch.embedding, areas[1]),
        ):
            if values is not None:
                for pair_checks, check in zip(
                    checks, evaluate_faithfulness(method, side, values, other, baselines), strict=True
                ):
                    pair_checks.append(check)
    return checks


def _to_heat_maps(method: str, maps: SideMaps, signed: bool) -> list[HeatMaps]:
    columns = (*_scale_maps(maps.sketch, signed), *_scale_maps(maps.photo, signed))
    count = len(next(side for side in (maps.sketch, maps.photo) if side is not None))
    errors = (_list_or_nones(maps.sketch_error, count), _list_or_nones(maps.photo_error, count))
    filled = [column if column is not None else [None] * count for column in columns]
    return [
        HeatMaps(method, left, right, left_peak, right_peak, ours, theirs)
        for left, left_peak, right, right_peak, ours, theirs in zip(*filled, *errors, strict=True)
    ]


def _scale_maps(maps: Tensor | None, signed: bool) -> tuple[list | None, list | None]:
    if maps is None:
        return None, None
    if max(maps.shape[1:]) > FINEST_MAP_SIDE:
        maps = F.adaptive_avg_pool2d(maps[:, None], FINEST_MAP_SIDE)[:, 0]
    values = maps if signed else maps.clamp(min=0)
    highest = values.abs().amax((1, 2))
    peak = torch.where(highest > EMPTY_MAP_PEAK, highest, 0.0)
    scaled = values * torch.where(peak > 0, 1 / peak, 0.0)[:, None, None]
    return [to_grid(one) for one in scaled.double().round(decimals=4).cpu()], peak.tolist()


def _list_or_nones(values: Tensor | None, count: int) -> list[float] | list[None]:
    return [None] * count if values is None else values.tolist()


def _pair_regions(sketch: EncodedImages, photos: EncodedImages, scores: Tensor, pairs: int) -> list[Regions]:
    ours, theirs = require_feature_maps(sketch, photos)
    return decompose_regions(ours[0], theirs, scores, pairs)


def _map_warnings(score: float, maps: Sequence[HeatMaps]) -> Iterator[str]:
    if score == 0:
        yield "The similarity is exactly zero: there is nothing for a map to explain."
    elif score < 0:
        yield "The similarity is below zero: the encoder finds drawing and photo more unlike than unrelated."
    for one in maps:
        if 0 in (one.sketch_peak, one.photo_peak):
            yield f"A map by {one.method} is empty: no part of the image raises the similarity."


@contextmanager
def _evaluation_mode(encoder: Encoder) -> Iterator[None]:
    training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(training)
