"""The heat maps of every method for both sides of k pairs, signed and in the method's own unit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.attention_rollout import attention_rollout
from ssl_sbir.explain.attribution.encoded_images import EncodedImages
from ssl_sbir.explain.attribution.gradcam import feature_gradcam, token_gradcam
from ssl_sbir.explain.attribution.integrated_gradients import integrated_gradients
from ssl_sbir.explain.attribution.occlusion import occlude_photos, occlude_sketch
from ssl_sbir.explain.attribution.region_pairs import region_contributions
from ssl_sbir.explain.attribution.stroke_importance import ink_pieces, occlude_strokes, paint_strokes
from ssl_sbir.explain.attribution.vision_transformers import has_attention, last_block


@dataclass(frozen=True)
class SideMaps:
    """One method's maps of k pairs; None for a side that the method doesn't map.

    Attributes:
        sketch: [k, h, w], the drawing's map for each photo.
        photo: [k, h, w], each photo's map for the drawing.
        sketch_error: [k], expected sum of the drawing's map minus its actual sum; None where unknown.
        photo_error: the same for the photo.
    """

    sketch: Float[Tensor, "k a b"] | None
    photo: Float[Tensor, "k c e"] | None
    sketch_error: Float[Tensor, " k"] | None = None
    photo_error: Float[Tensor, " k"] | None = None


def _gradcam_maps(sketch: EncodedImages, photos: EncodedImages) -> SideMaps:
    count = len(photos.image)
    if sketch.why_no_features or photos.why_no_features:
        repeated = sketch.image.expand(count, -1, -1, -1)
        return SideMaps(
            token_gradcam(sketch, repeated, photos.embedding),
            token_gradcam(photos, photos.image, sketch.embedding.expand(count, -1)),
        )
    ours, theirs = require_feature_maps(sketch, photos)
    toward_photos = feature_gradcam(ours.expand(count, -1, -1, -1), photos.embedding)
    return SideMaps(toward_photos, feature_gradcam(theirs, sketch.embedding.expand(count, -1)))


def _region_maps(sketch: EncodedImages, photos: EncodedImages) -> SideMaps:
    ours, theirs = require_feature_maps(sketch, photos)
    shares = region_contributions(ours[0], theirs).float()
    return SideMaps(
        shares.sum(2).unflatten(1, ours.shape[2:]),
        shares.sum(1).unflatten(1, theirs.shape[2:]),
    )


def _occlusion_maps(sketch: EncodedImages, photos: EncodedImages) -> SideMaps:
    return SideMaps(occlude_sketch(sketch, photos), occlude_photos(sketch, photos))


def _integrated_gradient_maps(sketch: EncodedImages, photos: EncodedImages) -> SideMaps:
    count = len(photos.image)
    ours, our_error = integrated_gradients(sketch, sketch.image.expand(count, -1, -1, -1), photos.embedding)
    theirs, their_error = integrated_gradients(photos, photos.image, sketch.embedding.expand(count, -1))
    return SideMaps(ours, theirs, our_error, their_error)


def _stroke_maps(sketch: EncodedImages, photos: EncodedImages) -> SideMaps:
    pieces = ink_pieces(sketch.image[0]) if sketch.strokes is None else sketch.strokes
    return SideMaps(paint_strokes(occlude_strokes(sketch, photos.embedding, pieces), pieces), None)


def _attention_maps(sketch: EncodedImages, photos: EncodedImages) -> SideMaps:
    ours = attention_rollout(sketch.encoder, sketch.image, Domain.SKETCH).expand(len(photos.image), -1, -1)
    return SideMaps(ours, attention_rollout(photos.encoder, photos.image, Domain.PHOTO))


def require_feature_maps(
    sketch: EncodedImages, photos: EncodedImages
) -> tuple[Float[Tensor, "1 d a b"], Float[Tensor, "k d c e"]]:
    """The feature maps of both sides.

    Raises:
        ExplainError: the encoder has no feature maps that average to its embeddings.
    """
    if sketch.features is None or photos.features is None:
        raise ExplainError(
            sketch.why_no_features or photos.why_no_features,
            "Choose occlusion, which works with any encoder.",
        )
    return sketch.features, photos.features


METHOD_MAPS: Mapping[str, Callable[[EncodedImages, EncodedImages], SideMaps]] = {
    "gradcam": _gradcam_maps,
    "regions": _region_maps,
    "occlusion": _occlusion_maps,
    "strokes": _stroke_maps,
    "integrated": _integrated_gradient_maps,
    "attention": _attention_maps,
}
# The only maps that beat random maps and edge maps in the study, and only on photos: on drawings no method beats the
# edge map (docs/faithfulness.md).
DEFAULT_METHOD_MAPS: Mapping[str, Callable[[EncodedImages, EncodedImages], SideMaps]] = {
    "occlusion": lambda sketch, photos: SideMaps(None, occlude_photos(sketch, photos)),
}


def choose_methods(
    requested: tuple[str, ...] | None, sketch: EncodedImages, photos: EncodedImages
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The methods to compute, and warnings about methods that this encoder doesn't support.

    Args:
        requested: names of methods; None for the default ones.

    Raises:
        ExplainError: a method is unknown, or this encoder doesn't support it.
    """
    reason, encoder = sketch.why_no_features or photos.why_no_features, sketch.encoder
    attention, tokens = has_attention(encoder), all(last_block(encoder, domain) for domain in Domain)
    unsupported = {"gradcam": reason and not tokens, "regions": reason, "attention": not attention}
    supported = ", ".join(method for method in METHOD_MAPS if not unsupported.get(method))
    hint = f"This encoder supports {supported}."
    missing = "no region pairs" if tokens else "no Grad-CAM and no region pairs"
    warnings = (f"{reason[:1].upper()}{reason[1:]}: {missing}. {hint}",) if reason else ()
    for method in requested or ():
        if method not in METHOD_MAPS:
            raise ExplainError(f"unknown method {method!r}", f"Choose from {', '.join(METHOD_MAPS)}.")
        if unsupported.get(method):
            why = "this encoder is no vision transformer" if method == "attention" else reason
            raise ExplainError(f"{method}: {why}", hint)
    return tuple(DEFAULT_METHOD_MAPS) if requested is None else requested, warnings
