"""The pseudo-sketch of every photo of a batch, by the chosen edge detector."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.augment.kornia_views import pseudo_sketch
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.choices import EdgeDetector
from ssl_sbir.edges.edge_maps import EdgeMaps, edge_bands, pen_lines, prepare_edges
from ssl_sbir.edges.ink_framing import normalize_ink_framing
from ssl_sbir.edges.teacher_attention import ClassActivationMaps
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of


@dataclass(frozen=True)
class PseudoSketcher:
    """Pseudo-sketches of photos.

    Attributes:
        detector: sobel, canny, a random blend of both (mixed), HED's edges as bands (hed) or as pen lines
            (hed_lines), or at random mixed or hed_lines (all).
        edge_maps: HED's precomputed maps, for detectors that use HED.
        activation_maps: where a classifier finds its evidence in each photo.
        focus: fraction of the drawings restricted to these regions, as people leave out the background.
        framing: fraction of the drawings scaled to the size that the fit `ink` gives a sketch.
    """

    detector: EdgeDetector
    edge_maps: EdgeMaps | None
    activation_maps: ClassActivationMaps | None = None
    focus: float = 0.0
    framing: float = 0.0

    @classmethod
    def for_training_set(cls, detector: EdgeDetector, data: TrainingSet, device: str) -> "PseudoSketcher":
        """Draws the photos of a run, with background and at their size.

        Raises:
            DataError: the run has no photos.
            EncoderError: the detector uses HED and its package isn't installed.
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

    def with_sketch_style(
        self, activation_maps: ClassActivationMaps | None, focus: float, framing: float
    ) -> "PseudoSketcher":
        """The same detector with `activation_maps`, `focus` and `framing`."""
        return replace(self, activation_maps=activation_maps, focus=focus, framing=framing)

    @torch.no_grad()
    def __call__(self, batch: Batch, side: int | None = None) -> Float[Tensor, "photos 3 h w"]:
        """A drawing of each photo of a batch, dark on white, in the photos' order.

        Args:
            batch: photos and other images.
            side: of the drawings, in pixels; by default the photos'.
        """
        with torch.autocast(batch.image.device.type, enabled=False):  # quantiles don't accept bfloat16
            return self._render_batch(batch, side or batch.image.shape[-1])

    def _render_batch(self, batch: Batch, side: int) -> Float[Tensor, "photos 3 h w"]:
        photo = batch.domain == Domain.PHOTO
        row = batch.row[photo]
        ink = self._render_ink(batch.image[photo], row)
        random = torch.rand(2, len(ink), 1, 1, 1, device=ink.device)
        if self.activation_maps is not None and self.focus:
            mask = self.activation_maps.sample_attention_mask(row, ink.shape[-1]).to(ink.device)
            ink = torch.where(random[0] < self.focus, ink * mask, ink)
        if self.framing:
            ink = torch.where(random[1] < self.framing, normalize_ink_framing(ink), ink)
        if ink.shape[-1] > side:
            ink = (F.interpolate(ink, size=side, mode="area") * 1.3).clamp(max=1)
        elif ink.shape[-1] < side:
            ink = F.interpolate(ink, size=side, mode="bilinear")
        return (1 - ink).expand(-1, 3, -1, -1).contiguous()

    def _render_ink(
        self, photo: Float[Tensor, "b 3 h w"], row: Int[Tensor, " b"]
    ) -> Float[Tensor, "b 1 s s"]:
        if self.edge_maps is None:
            return 1 - pseudo_sketch(photo, self.detector)[:, :1]
        maps = self.edge_maps.read_maps(row).to(photo.device) / 255
        if self.detector == "hed":
            return edge_bands(maps)
        lines = pen_lines(maps)
        if self.detector == "hed_lines":
            return lines
        other = F.interpolate(1 - pseudo_sketch(photo, "mixed")[:, :1], size=lines.shape[-1], mode="bilinear")
        return torch.where(torch.rand(len(lines), 1, 1, 1, device=photo.device) < 0.5, lines, other)

    def cache_key(self, data: TrainingSet) -> str:
        """A hash of everything that a run's drawings depend on, except for randomness."""
        return sha256_of(
            self.detector,
            data.pack.key,
            self.edge_maps.key if self.edge_maps else "",
            self.activation_maps.key if self.activation_maps and self.focus else "",
            f"{self.focus} {self.framing}",
        )

    def render_photos(
        self, data: TrainingSet, side: int, seed: int, device: str = "cpu"
    ) -> "Iterator[Tensor]":
        """One drawing of each photo of a run, uint8 [b, 3, side, side], equal for equal seed and device."""
        rows, target = data.rows[Domain.PHOTO], torch.device(device)
        with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
            torch.manual_seed(seed)
            for start in range(0, len(rows), 64):
                batch = data.read_batch(rows[start : start + 64]).to(target)
                yield (self(batch, side) * 255).round().to(torch.uint8)
