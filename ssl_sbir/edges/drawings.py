"""The pseudo-sketch of every photo of a batch, by whichever edge detector was asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.augment import pseudo_sketch
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.edges.attention import Attention
from ssl_sbir.edges.framing import framed
from ssl_sbir.edges.maps import EdgeMaps, bands, pen_lines, prepare_edges
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of

Detector = Literal["mixed", "sobel", "canny", "hed", "hed_lines", "all"]


@dataclass(frozen=True)
class Drawings:
    """Pseudo-sketches of photos.

    Attributes:
        detector: sobel, canny, a random blend of both (mixed), HED's edges as bands (hed) or as a pen's lines
            (hed_lines), or a coin's toss between mixed and hed_lines (all).
        maps: HED's maps, computed beforehand, where they are wanted.
        attention: where a classifier looks in each photo.
        focus: share of the drawings that keep only what it looks at, as a hand leaves the background out.
        framing: share of the drawings brought to the size that the fit `ink` gives a sketch.
    """

    detector: Detector
    maps: EdgeMaps | None
    attention: Attention | None = None
    focus: float = 0.0
    framing: float = 0.0

    @classmethod
    def of(cls, detector: Detector, data: TrainingSet, device: str) -> "Drawings":
        """What draws the photos of a run, whole.

        Raises:
            DataError: the run has no photo.
            EncoderError: HED is wanted and its package isn't installed.
        """
        if not len(data.rows[Domain.PHOTO]):
            raise DataError(
                f"{data.manifest.name} has no photos to draw",
                "Sketches alone are enough for simclr and ucdir.",
            )
        if detector not in ("hed", "hed_lines", "all"):
            return cls(detector, None)
        photos, lines = data.rows[Domain.PHOTO], detector != "hed"
        return cls(detector, prepare_edges(data.manifest, data.pack, photos, lines=lines, device=device))

    def like_sketches(self, attention: Attention | None, focus: float, framing: float) -> "Drawings":
        """The same, with a share of them less of a photo and more of a sketch."""
        return replace(self, attention=attention, focus=focus, framing=framing)

    @torch.no_grad()
    def __call__(self, batch: Batch, side: int | None = None) -> Float[Tensor, "photos 3 h w"]:
        """A drawing of each photo of a batch, dark on white, in the photos' order.

        Args:
            batch: photos, among other images.
            side: of the drawings, in pixels; by default the photos'.
        """
        with torch.autocast(batch.image.device.type, enabled=False):  # quantiles take no bfloat16
            return self._drawn(batch, side or batch.image.shape[-1])

    def _drawn(self, batch: Batch, side: int) -> Float[Tensor, "photos 3 h w"]:
        photo = batch.domain == Domain.PHOTO
        row = batch.row[photo]
        ink = self._ink(batch.image[photo], row)
        draw = torch.rand(2, len(ink), 1, 1, 1, device=ink.device)
        if self.attention is not None and self.focus:
            seen = self.attention.mask(row, ink.shape[-1]).to(ink.device)
            ink = torch.where(draw[0] < self.focus, ink * seen, ink)
        if self.framing:
            ink = torch.where(draw[1] < self.framing, framed(ink), ink)
        if ink.shape[-1] > side:
            ink = (F.interpolate(ink, size=side, mode="area") * 1.3).clamp(max=1)
        elif ink.shape[-1] < side:
            ink = F.interpolate(ink, size=side, mode="bilinear")
        return (1 - ink).expand(-1, 3, -1, -1).contiguous()

    def _ink(self, photo: Float[Tensor, "b 3 h w"], row: Int[Tensor, " b"]) -> Float[Tensor, "b 1 s s"]:
        if self.maps is None:
            return 1 - pseudo_sketch(photo, self.detector)[:, :1]
        maps = self.maps.batch(row).to(photo.device) / 255
        if self.detector == "hed":
            return bands(maps)
        lines = pen_lines(maps)
        if self.detector == "hed_lines":
            return lines
        other = F.interpolate(1 - pseudo_sketch(photo, "mixed")[:, :1], size=lines.shape[-1], mode="bilinear")
        return torch.where(torch.rand(len(lines), 1, 1, 1, device=photo.device) < 0.5, lines, other)

    def key(self, data: TrainingSet) -> str:
        """A hash of everything the drawings of a run depend on but chance."""
        return sha256_of(
            self.detector,
            data.pack.key,
            self.maps.key if self.maps else "",
            self.attention.key if self.attention and self.focus else "",
            f"{self.focus} {self.framing}",
        )

    def pages(self, data: TrainingSet, side: int, seed: int, device: str = "cpu") -> "Iterator[Tensor]":
        """One drawing of each photo of a run, uint8 [b, 3, side, side], the same for the same seed and device."""
        rows, where = data.rows[Domain.PHOTO], torch.device(device)
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            torch.manual_seed(seed)
            for start in range(0, len(rows), 64):
                batch = data.batch(rows[start : start + 64]).to(where)
                yield (self(batch, side) * 255).round().to(torch.uint8)
