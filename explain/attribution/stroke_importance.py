"""The strokes of a drawing (as drawn, or its connected ink) and how much the similarity drops without each."""

import json

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain, ImageSource
from ssl_sbir.data.quickdraw_strokes import StrokeSource, rasterize_strokes
from ssl_sbir.errors import DataError
from ssl_sbir.explain.attribution.encoded_images import EncodedImages
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE, OCCLUSION_BATCH

# Paper is 1; anything darker than this is ink, including the soft edges of lines.
PAPER_THRESHOLD = 1 - 24 / 255
# Connected ink longer than half the drawing is cut along a grid; otherwise a drawing in one line would be one piece.
GRID_CUTS = 4
MAX_PIECES = 32


def ink_pieces(image: Float[Tensor, "3 h w"], max_pieces: int = MAX_PIECES) -> Bool[Tensor, "p h w"]:
    """The connected parts of a drawing's ink, largest first; together they hold all ink.

    Long parts are cut along a grid of 4 × 4. If there are more than `max_pieces`, the smallest are merged into one.

    Args:
        image: dark lines on white, in 0..1.
        max_pieces: the most pieces to return; an empty drawing has none.
    """
    ink = (image.amin(0) < PAPER_THRESHOLD).cpu().numpy()
    labels = _label_ink(ink)
    values, sizes = np.unique(labels[ink], return_counts=True)
    order = values[np.argsort(-sizes, kind="stable")]
    pieces = [labels == label for label in order[: max_pieces - 1]]
    if len(order) >= max_pieces:
        pieces.append(np.isin(labels, order[max_pieces - 1 :]))
    stacked = np.stack(pieces) if pieces else np.zeros((0, *ink.shape), bool)
    return torch.from_numpy(stacked).to(image.device)


def load_vector_strokes(source: ImageSource, key: str, size: int) -> Bool[Tensor, "p s s"] | None:
    """The strokes in the order they were drawn; None for a drawing of pixels.

    Raises:
        DataError: the file with the strokes can't be read.
    """
    file, mark, offset = key.rpartition("#")
    path = source.path(key)
    if not isinstance(source, StrokeSource) or not mark or not offset.isdecimal() or path is None:
        return None
    try:
        with path.open("rb") as lines:
            lines.seek(int(offset))
            strokes = json.loads(lines.readline())["drawing"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: {error}", "ssl-sbir data verify") from error
    masks = [np.asarray(rasterize_strokes([stroke], size)) < PAPER_THRESHOLD * 255 for stroke in strokes]
    return torch.from_numpy(np.stack(masks)) if masks else None


def occlude_strokes(
    sketch: EncodedImages, others: Float[Tensor, "k d"], pieces: Bool[Tensor, "p h w"]
) -> Float[Tensor, "k p"]:
    """How much each of k similarities drops without each of the drawing's p strokes."""
    if not len(pieces):
        return others.new_zeros(len(others), 0)
    paint = sketch.image.new_tensor(COVER_VALUE[Domain.SKETCH])
    without = [
        sketch.embed(torch.where(part[:, None], paint, sketch.image[:1]))
        for part in pieces.split(OCCLUSION_BATCH)
    ]
    after = torch.cosine_similarity(torch.cat(without)[:, None], others[None], dim=-1)
    return (torch.cosine_similarity(sketch.embedding[:1], others)[None] - after).T


def paint_strokes(drops: Float[Tensor, "k p"], pieces: Bool[Tensor, "p h w"]) -> Float[Tensor, "k h w"]:
    """A map with each stroke's drop on its ink; where strokes cross, the mean of their drops."""
    shares = pieces.to(drops)
    return torch.einsum("kp,phw->khw", drops, shares) / shares.sum(0).clamp(min=1)


def _label_ink(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """A label above 0 for each piece, 0 for paper."""
    from scipy import ndimage

    parts, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    height, width = ink.shape
    rows, columns = np.indices(ink.shape)
    cell = rows * GRID_CUTS // height * GRID_CUTS + columns * GRID_CUTS // width
    boxes = ndimage.find_objects(parts)
    long = np.array(
        [False, *((_box_length(b, 0) > height / 2 or _box_length(b, 1) > width / 2) for b in boxes)]
    )
    return np.where(
        ink, parts * (GRID_CUTS * GRID_CUTS + 1) + np.where(long[parts], cell, GRID_CUTS * GRID_CUTS), 0
    )


def _box_length(box: tuple[slice, ...], axis: int) -> int:
    return box[axis].stop - box[axis].start
