"""The heat maps of every method, for both sides of some pairs, signed and in the method's own unit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.gradcam import gradcam, token_gradcam
from ssl_sbir.explain.gradients import integrated
from ssl_sbir.explain.occlusion import photo_drops, sketch_drops
from ssl_sbir.explain.regions import region_contributions
from ssl_sbir.explain.rollout import rollout
from ssl_sbir.explain.strokes import ink_pieces, painted, stroke_drops
from ssl_sbir.explain.towers import Tower
from ssl_sbir.explain.vision_transformers import has_attention, last_block


@dataclass(frozen=True)
class SideMaps:
    """One method's maps of k pairs; a side that the method doesn't speak of is None.

    Attributes:
        sketch: [k, h, w] of the drawing toward each photo.
        photo: [k, h, w] of each photo toward the drawing.
        sketch_error: [k], what the drawing's map lacks of the sum it should have, where that is known.
        photo_error: the same for the photo.
    """

    sketch: Float[Tensor, "k a b"] | None
    photo: Float[Tensor, "k c e"] | None
    sketch_error: Float[Tensor, " k"] | None = None
    photo_error: Float[Tensor, " k"] | None = None


def _gradcam(sketch: Tower, photos: Tower) -> SideMaps:
    count = len(photos.image)
    if sketch.lacks or photos.lacks:
        drawn = sketch.image.expand(count, -1, -1, -1)
        return SideMaps(
            token_gradcam(sketch, drawn, photos.embedding),
            token_gradcam(photos, photos.image, sketch.embedding.expand(count, -1)),
        )
    ours, theirs = features(sketch, photos)
    toward_photos = gradcam(ours.expand(count, -1, -1, -1), photos.embedding)
    return SideMaps(toward_photos, gradcam(theirs, sketch.embedding.expand(count, -1)))


def _regions(sketch: Tower, photos: Tower) -> SideMaps:
    ours, theirs = features(sketch, photos)
    shares = region_contributions(ours[0], theirs).float()
    return SideMaps(
        shares.sum(2).unflatten(1, ours.shape[2:]),
        shares.sum(1).unflatten(1, theirs.shape[2:]),
    )


def _occlusion(sketch: Tower, photos: Tower) -> SideMaps:
    return SideMaps(sketch_drops(sketch, photos), photo_drops(sketch, photos))


def _integrated(sketch: Tower, photos: Tower) -> SideMaps:
    count = len(photos.image)
    ours, our_error = integrated(sketch, sketch.image.expand(count, -1, -1, -1), photos.embedding)
    theirs, their_error = integrated(photos, photos.image, sketch.embedding.expand(count, -1))
    return SideMaps(ours, theirs, our_error, their_error)


def _strokes(sketch: Tower, photos: Tower) -> SideMaps:
    pieces = ink_pieces(sketch.image[0]) if sketch.strokes is None else sketch.strokes
    return SideMaps(painted(stroke_drops(sketch, photos.embedding, pieces), pieces), None)


def _attention(sketch: Tower, photos: Tower) -> SideMaps:
    ours = rollout(sketch.encoder, sketch.image, Domain.SKETCH).expand(len(photos.image), -1, -1)
    return SideMaps(ours, rollout(photos.encoder, photos.image, Domain.PHOTO))


def features(sketch: Tower, photos: Tower) -> tuple[Float[Tensor, "1 d a b"], Float[Tensor, "k d c e"]]:
    """The feature maps of both sides.

    Raises:
        ExplainError: the encoder has none that average to its embeddings.
    """
    if sketch.features is None or photos.features is None:
        raise ExplainError(sketch.lacks or photos.lacks, "Choose occlusion, which any encoder allows.")
    return sketch.features, photos.features


MAPS: Mapping[str, Callable[[Tower, Tower], SideMaps]] = {
    "gradcam": _gradcam,
    "regions": _regions,
    "occlusion": _occlusion,
    "strokes": _strokes,
    "integrated": _integrated,
    "attention": _attention,
}
# What does better than chance and than edges, and on photos alone: on drawings nothing does better than the lines
# themselves (docs/faithfulness.md).
DEFAULT: Mapping[str, Callable[[Tower, Tower], SideMaps]] = {
    "occlusion": lambda sketch, photos: SideMaps(None, photo_drops(sketch, photos)),
}


def chosen(
    asked: tuple[str, ...] | None, sketch: Tower, photos: Tower
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The methods to compute and what to say about them.

    Args:
        asked: names of methods, None for the default ones that this encoder allows.

    Raises:
        ExplainError: an unknown method, or one that this encoder can't give.
    """
    lacks, encoder = sketch.lacks or photos.lacks, sketch.encoder
    seeing, tokens = has_attention(encoder), all(last_block(encoder, domain) for domain in Domain)
    lost = {"gradcam": lacks and not tokens, "regions": lacks, "attention": not seeing}
    remaining = f"The methods that remain are {', '.join(it for it in MAPS if not lost.get(it))}."
    said = "no region pairs" if tokens else "no Grad-CAM and no region pairs"
    missing = (f"{lacks[:1].upper()}{lacks[1:]}: {said}. {remaining}",) if lacks else ()
    for method in asked or ():
        if method not in MAPS:
            raise ExplainError(f"unknown method {method!r}", f"Choose from {', '.join(MAPS)}.")
        if lost.get(method):
            why = "this encoder is no vision transformer" if method == "attention" else lacks
            raise ExplainError(f"{method}: {why}", remaining)
    return tuple(DEFAULT) if asked is None else asked, missing
