"""Explanations of one drawing and several photos, in one pass."""

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
# Below this a map is rounding noise, which scaling to 0..1 would dress up as evidence.
EMPTY_MAP_PEAK = 1e-6
# A finer map than this says no more to the eye, and its numbers would fill the page.
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
    """One explanation a photo, in the order of the photos; each image is embedded once.

    Args:
        encoder: any encoder; it is used in evaluation mode and left as it was.
        sketch: the drawing, in 0..1.
        photos: the photos, in 0..1.
        methods: of `feature_gradcam`, `regions`, `occlusion`, `strokes`, `integrated_gradients` and `activation_maps`; None takes
            what stood the test (docs/faithfulness.md): occlusion, on the photos alone.
        query: id of the drawing.
        results: ids of the photos; their numbers by default.
        centres: vectors to subtract from each domain's embeddings, as evaluation may.
        pairs: how many of the strongest region pairs to list.
        signed: keep what speaks against the pair in the heat maps, as values below zero.
        draws: random maps that each map is tested against; 0 tests none.
        strokes: the drawing's strokes as it was drawn; its connected ink by default.

    Raises:
        ExplainError: an unknown method, or one that this encoder can't give.
    """
    with _evaluation_mode(encoder):
        ours = replace(encode_images(encoder, sketch[None], Domain.SKETCH, centres), strokes=strokes)
        theirs = encode_images(encoder, photos, Domain.PHOTO, centres)
        names, warnings = choose_methods(None if methods is None else tuple(methods), ours, theirs)
        scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
        maps = DEFAULT_METHOD_MAPS if methods is None else METHOD_MAPS
        found = {method: maps[method](ours, theirs) for method in names} if len(photos) else {}
        tested = _evaluate_maps(found, ours, theirs, draws)
    shown = [_to_heat_maps(method, maps, signed) for method, maps in found.items()]
    mapped = len(photos) and ours.features is not None and theirs.features is not None
    regions = _pair_regions(ours, theirs, scores, pairs) if mapped else [None] * len(photos)
    ids = results if results is not None else [str(row) for row in range(len(photos))]
    return [
        Explanation(
            query,
            name,
            score,
            {"drawing": score},
            tuple(seen),
            parts,
            names,
            (*warnings, *_map_warnings(score, seen)),
            tuple(test),
        )
        for name, score, parts, test, *seen in zip(ids, scores.tolist(), regions, tested, *shown, strict=True)
    ]


def _evaluate_maps(
    found: Mapping[str, SideMaps], sketch: EncodedImages, photos: EncodedImages, draws: int
) -> list[list[FaithfulnessCheck]]:
    tested: list[list[FaithfulnessCheck]] = [[] for _ in photos.image]
    if not draws or not found:
        return tested
    plain = BaselineAreas(sketch, photos.embedding, draws), BaselineAreas(photos, sketch.embedding, draws)
    for method, maps in found.items():
        for side, values, other, baselines in (
            (sketch, maps.sketch, photos.embedding, plain[0]),
            (photos, maps.photo, sketch.embedding, plain[1]),
        ):
            if values is not None:
                for one, check in zip(
                    tested, evaluate_faithfulness(method, side, values, other, baselines), strict=True
                ):
                    one.append(check)
    return tested


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
    kept = maps if signed else maps.clamp(min=0)
    highest = kept.abs().amax((1, 2))
    peak = torch.where(highest > EMPTY_MAP_PEAK, highest, 0.0)
    scaled = kept * torch.where(peak > 0, 1 / peak, 0.0)[:, None, None]
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
        yield "The similarity is below zero: the two pictures point in opposite directions."
    for seen in maps:
        if 0 in (seen.sketch_peak, seen.photo_peak):
            yield f"A map by {seen.method} is empty: no place of the image raises the similarity."


@contextmanager
def _evaluation_mode(encoder: Encoder) -> Iterator[None]:
    training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(training)
