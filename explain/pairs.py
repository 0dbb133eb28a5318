"""Explanations of one drawing and several photos, in one pass."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.explanation import Explanation, HeatMaps, Regions
from ssl_sbir.explain.gradcam import gradcam
from ssl_sbir.explain.occlusion import photo_drops, sketch_drops
from ssl_sbir.explain.regions import grid, regions_of
from ssl_sbir.explain.towers import Centres, Tower, tower

MAPS = ("gradcam", "occlusion")
METHODS = ("gradcam", "regions", "occlusion")
NEED_FEATURES = ("gradcam", "regions")
# Below this a map is rounding noise, which scaling to 0..1 would dress up as evidence.
EMPTY = 1e-6


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
) -> list[Explanation]:
    """One explanation a photo, in the order of the photos; each image is embedded once.

    Args:
        encoder: any encoder; it is used in evaluation mode and left as it was.
        sketch: the drawing, in 0..1.
        photos: the photos, in 0..1.
        methods: of `gradcam`, `regions` and `occlusion`; None takes gradcam and regions, or occlusion for an
            encoder whose embedding isn't the mean of a feature map.
        query: id of the drawing.
        results: ids of the photos; their numbers by default.
        centres: vectors to subtract from each domain's embeddings, as evaluation may.
        pairs: how many of the strongest region pairs to list.
        signed: keep what speaks against the pair in the heat maps, as values below zero.

    Raises:
        ExplainError: an unknown method, or one that this encoder can't give.
    """
    with _evaluating(encoder):
        ours = tower(encoder, sketch[None], Domain.SKETCH, centres)
        theirs = tower(encoder, photos, Domain.PHOTO, centres)
        chosen, warnings = _methods(methods, ours.lacks or theirs.lacks)
        scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
        maps = [_maps(method, ours, theirs, signed) for method in chosen if method in MAPS]
    regions = [None] * len(photos) if "regions" not in chosen else _regions(ours, theirs, scores, pairs)
    names = results if results is not None else [str(row) for row in range(len(photos))]
    return [
        Explanation(
            query,
            name,
            score,
            {"drawing": score},
            tuple(seen),
            parts,
            chosen,
            (*warnings, *_doubts(score, seen)),
        )
        for name, score, parts, *seen in zip(names, scores.tolist(), regions, *maps, strict=True)
    ]


def _methods(asked: Sequence[str] | None, lacks: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if asked is None:
        missing = f"{_capital(lacks)}: no Grad-CAM and no region pairs; the heat maps are by occlusion."
        return (("occlusion",), (missing,)) if lacks else (("gradcam", "regions"), ())
    for method in asked:
        if method not in METHODS:
            raise ExplainError(f"unknown method {method!r}", f"Choose from {', '.join(METHODS)}.")
    refused = [method for method in asked if lacks and method in NEED_FEATURES]
    if refused:
        raise ExplainError(f"{', '.join(refused)}: {lacks}", "The method that remains is occlusion.")
    return tuple(asked), ()


def _maps(method: str, sketch: Tower, photos: Tower, signed: bool) -> list[HeatMaps]:
    ours, theirs = _CAMS[method](sketch, photos)
    columns = (*_scaled(ours, signed), *_scaled(theirs, signed))
    return [
        HeatMaps(method, grid(left), grid(right), float(left_peak), float(right_peak))
        for left, left_peak, right, right_peak in zip(*columns, strict=True)
    ]


def _gradcams(sketch: Tower, photos: Tower) -> tuple[Tensor, Tensor]:
    ours, theirs = _features(sketch, photos)
    count = len(theirs)
    toward_photos = gradcam(ours.expand(count, -1, -1, -1), photos.embedding)
    return toward_photos, gradcam(theirs, sketch.embedding.expand(count, -1))


def _occlusions(sketch: Tower, photos: Tower) -> tuple[Tensor, Tensor]:
    return sketch_drops(sketch, photos), photo_drops(sketch, photos)


_CAMS = {"gradcam": _gradcams, "occlusion": _occlusions}


def _scaled(maps: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    kept = maps if signed else maps.clamp(min=0)
    highest = kept.abs().amax((1, 2))
    peak = torch.where(highest > EMPTY, highest, 0.0)
    return (kept * torch.where(peak > 0, 1 / peak, 0.0)[:, None, None]).cpu(), peak.cpu()


def _regions(sketch: Tower, photos: Tower, scores: Tensor, pairs: int) -> list[Regions]:
    ours, theirs = _features(sketch, photos)
    return regions_of(ours[0], theirs, scores, pairs)


def _features(sketch: Tower, photos: Tower) -> tuple[Tensor, Tensor]:
    if sketch.features is None or photos.features is None:  # _methods has refused what needs them
        raise ExplainError(sketch.lacks or photos.lacks)
    return sketch.features, photos.features


def _doubts(score: float, maps: Sequence[HeatMaps]) -> Iterator[str]:
    if score == 0:
        yield "The similarity is exactly zero: there is nothing for a map to explain."
    elif score < 0:
        yield "The similarity is below zero: the two pictures point in opposite directions."
    for seen in maps:
        if not (seen.sketch_peak and seen.photo_peak):
            yield f"A map by {seen.method} is empty: no place of the image raises the similarity."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@contextmanager
def _evaluating(encoder: Encoder) -> Iterator[None]:
    training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(training)
