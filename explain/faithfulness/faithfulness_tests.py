"""Whether a heat map points at what the score really rests on: cover its best places, or show only those.

A map is worth something if it does better than random maps and than a map of edges, both of its own coarseness:
these know the image at most, and nothing of the encoder.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain.attribution.encoded_images import EncodedImages
from ssl_sbir.explain.faithfulness.deletion_insertion import (
    CURVE_CELLS,
    deletion_insertion_curves,
    edge_maps,
    random_maps,
)


@dataclass(frozen=True)
class FaithfulnessCheck:
    """One map of one side, tested: its curves and what random maps and an edge map reach.

    Attributes:
        method: the map's.
        side: `drawing` or `embed_photo`.
        deletion: similarity while the strongest places are covered, from the whole image on.
        insertion: similarity while they are uncovered, from the covered image on.
        area: mean of insertion less mean of deletion; higher is better.
        random: the same for random maps of the same coarseness, their mean.
        edges: the same for a map of edge density of the same coarseness.
    """

    method: str
    side: str
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    area: float
    random: float
    edges: float

    @property
    def beats_random(self) -> bool:
        """Whether the map is better than the random maps' mean."""
        return self.area > self.random

    @property
    def beats_edges(self) -> bool:
        """Whether the map is better than the edge map."""
        return self.area > self.edges


class BaselineAreas:
    """What maps without knowledge of the encoder reach on one side of some pairs; computed when asked.

    A drawing's are embedded once for all photos.

    Args:
        side: one drawing, or k photos.
        others: embeddings of k photos, or of the drawing.
        draws: random maps an image.
    """

    def __init__(self, side: EncodedImages, others: Float[Tensor, "k d"], draws: int) -> None:
        self.side, self.others, self.draws = side, others, draws
        self._edges: dict[tuple[int, int], Tensor] = {}
        self._random: dict[tuple[int, int], Tensor] = {}

    def edge_areas(self, shape: tuple[int, int] = (CURVE_CELLS, CURVE_CELLS)) -> Float[Tensor, " k"]:
        """Area of the edge map of that coarseness, one a pair; by default the finest that is tested."""
        shape = _clamp_map_shape(shape)
        if shape not in self._edges:
            rows = torch.arange(len(self.side.image), device=self.side.image.device)
            maps = edge_maps(self.side.image, shape)
            self._edges[shape] = deletion_insertion_curves(self.side, rows, maps, self.others).areas.flatten()
        return self._edges[shape]

    def random_areas(self, shape: tuple[int, int]) -> Float[Tensor, " k"]:
        """Mean area of random maps of that coarseness, one a pair."""
        shape = _clamp_map_shape(shape)
        if shape not in self._random:
            count = len(self.side.image)
            rows = torch.arange(count, device=self.side.image.device).repeat(self.draws)
            maps = random_maps(count * self.draws, shape).to(self.side.image)
            areas = deletion_insertion_curves(self.side, rows, maps, self.others).areas
            self._random[shape] = areas.unflatten(0, (self.draws, count)).mean(0).flatten()
        return self._random[shape]


def evaluate_faithfulness(
    method: str, side: EncodedImages, maps: Float[Tensor, "k h w"], others: Tensor, baselines: BaselineAreas
) -> list[FaithfulnessCheck]:
    """The test of one method's maps on one side, one a pair.

    Args:
        side: one drawing, or k photos.
        maps: one a pair.
        others: [k, d] or [1, d], embeddings of the other side.
        baselines: of the same side.
    """
    count = len(maps)
    rows = torch.arange(count, device=maps.device) % len(side.image)
    found = deletion_insertion_curves(side, rows, maps, others)
    found = found.matched_pairs() if len(others) > 1 else found
    shape = (maps.shape[1], maps.shape[2])
    name = "drawing" if side.domain == Domain.SKETCH else "photo"
    columns = (
        found.deletion[..., 0].tolist(),
        found.insertion[..., 0].tolist(),
        found.areas[:, 0].tolist(),
        baselines.random_areas(shape).tolist(),
        baselines.edge_areas(shape).tolist(),
    )
    return [
        FaithfulnessCheck(method, name, tuple(d), tuple(i), a, r, e)
        for d, i, a, r, e in zip(*columns, strict=True)
    ]


def _clamp_map_shape(shape: tuple[int, int]) -> tuple[int, int]:
    return min(shape[0], CURVE_CELLS), min(shape[1], CURVE_CELLS)
