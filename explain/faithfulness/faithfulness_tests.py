"""Faithfulness tests: whether the score depends on the image regions that a heat map marks.

A useful map beats random maps and an edge map of its own resolution in deletion and insertion: neither of these
depends on the encoder.
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
    """The test of one map of one side: its curves, and the areas that random maps and an edge map reach.

    Attributes:
        method: that computed the map.
        side: `drawing` or `photo`.
        deletion: similarity while the strongest cells are covered, from the whole image on.
        insertion: similarity while they are uncovered, from the covered image on.
        area: mean of insertion minus mean of deletion; higher is better.
        random: mean area of random maps of the same resolution.
        edges: area of an edge map of the same resolution.
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
        """Whether the map beats the mean of the random maps."""
        return self.area > self.random

    @property
    def beats_edges(self) -> bool:
        """Whether the map beats the edge map."""
        return self.area > self.edges


class BaselineAreas:
    """Areas of maps that don't depend on the encoder, for one side of k pairs; computed on first use.

    Args:
        side: one drawing, or k photos.
        others: embeddings of k photos, or of the drawing.
        draws: random maps per image.
    """

    def __init__(self, side: EncodedImages, others: Float[Tensor, "k d"], draws: int) -> None:
        self.side, self.others, self.draws = side, others, draws
        self._edges: dict[tuple[int, int], Tensor] = {}
        self._random: dict[tuple[int, int], Tensor] = {}

    def edge_areas(self, shape: tuple[int, int] = (CURVE_CELLS, CURVE_CELLS)) -> Float[Tensor, " k"]:
        """Area of the edge map of this resolution for each pair; by default the finest resolution tested."""
        shape = _clamp_map_shape(shape)
        if shape not in self._edges:
            rows = torch.arange(len(self.side.image), device=self.side.image.device)
            maps = edge_maps(self.side.image, shape)
            self._edges[shape] = deletion_insertion_curves(self.side, rows, maps, self.others).areas.flatten()
        return self._edges[shape]

    def random_areas(self, shape: tuple[int, int]) -> Float[Tensor, " k"]:
        """Mean area of random maps of this resolution for each pair."""
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
    """The tests of one method's maps of one side, one for each pair.

    Args:
        side: one drawing, or k photos.
        maps: one for each pair.
        others: [k, d] or [1, d], embeddings of the other side.
        baselines: of the same side.
    """
    count = len(maps)
    rows = torch.arange(count, device=maps.device) % len(side.image)
    curves = deletion_insertion_curves(side, rows, maps, others)
    curves = curves.matched_pairs() if len(others) > 1 else curves
    shape = (maps.shape[1], maps.shape[2])
    name = "drawing" if side.domain == Domain.SKETCH else "photo"
    columns = (
        curves.deletion[..., 0].tolist(),
        curves.insertion[..., 0].tolist(),
        curves.areas[:, 0].tolist(),
        baselines.random_areas(shape).tolist(),
        baselines.edge_areas(shape).tolist(),
    )
    return [
        FaithfulnessCheck(method, name, tuple(d), tuple(i), a, r, e)
        for d, i, a, r, e in zip(*columns, strict=True)
    ]


def _clamp_map_shape(shape: tuple[int, int]) -> tuple[int, int]:
    return min(shape[0], CURVE_CELLS), min(shape[1], CURVE_CELLS)
