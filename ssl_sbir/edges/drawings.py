"""The pseudo-sketch of every photo of a batch, by whichever edge detector was asked for."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.augment import pseudo_sketch
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.edges.maps import EdgeMaps, drawn, prepare_edges
from ssl_sbir.errors import DataError

Detector = Literal["mixed", "sobel", "canny", "hed", "hed_lines", "all"]


@dataclass(frozen=True)
class Drawings:
    """Pseudo-sketches of photos.

    Attributes:
        detector: sobel, canny, a random blend of both (mixed), HED's edges as bands (hed) or as thin lines
            (hed_lines), or a coin's toss between mixed and hed_lines (all).
        maps: HED's maps, computed beforehand, where they are wanted.
    """

    detector: Detector
    maps: EdgeMaps | None

    @classmethod
    def of(cls, detector: Detector, data: TrainingSet, device: str) -> "Drawings":
        """What draws the photos of a run.

        Raises:
            DataError: the run has no photo.
            EncoderError: HED is wanted and its package isn't installed.
        """
        if not len(data.rows[Domain.PHOTO]):
            raise DataError(
                f"{data.manifest.name} has no photos to draw",
                "Sketches alone are enough for simclr and ucdir.",
            )
        wanted = detector in ("hed", "hed_lines", "all")
        return cls(detector, prepare_edges(data.manifest, data.pack, device=device) if wanted else None)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Float[Tensor, "photos 3 h w"]:
        """A drawing of each photo of a batch, dark on white, in the photos' order."""
        photo = batch.domain == Domain.PHOTO
        if self.maps is None:
            return pseudo_sketch(batch.image[photo], self.detector)
        maps = self.maps.batch(batch.row[photo]).to(batch.image.device) / 255
        by_hed = drawn(maps, lines=self.detector != "hed")
        if self.detector != "all":
            return by_hed
        other = pseudo_sketch(batch.image[photo], "mixed")
        return torch.where(torch.rand(len(other), 1, 1, 1, device=other.device) < 0.5, by_hed, other)
