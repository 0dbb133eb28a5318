"""Random views of photos and sketches: by kornia on their device, or by torchvision in threads."""

from typing import Any

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from kornia.filters import canny, gaussian_blur2d, sobel
from scipy import ndimage
from torch import Tensor

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.augment.stroke_noise import cut_stroke_gaps, deform_strokes, vary_stroke_width
from ssl_sbir.augment.torchvision_views import ThreadedAugment
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain

Images = Float[Tensor, "b 3 h w"]
# The eight neighbours of a pixel, within its own image.
EIGHT_NEIGHBORHOOD = [[[0] * 3] * 3, [[1] * 3] * 3, [[0] * 3] * 3]


class Augment:
    """Makes one random view of each image; parameters differ from image to image.

    Sketches are inverted to white on black before the geometric changes, so that the area brought in from outside
    becomes white paper; their colours stay as they are.

    Args:
        config: strengths.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self._photo = _augmentation_sequence(
            [*_geometric_steps(config, "reflection"), *_appearance_steps(config), *_erasing_steps(config)]
        )
        self._sketch = _augmentation_sequence(
            [*_geometric_steps(config, "zeros"), *_perspective_steps(config), *_erasing_steps(config)]
        )
        self._crop = config.min_crop_area
        self._config = config
        self.workers = ThreadedAugment(config) if config.backend == "torchvision" else None

    def prefetch_views(self, batch: Batch) -> None:
        """Makes views of a batch that was just read and has a key, where threads make them; thread-safe."""
        if self.workers is not None:
            self.workers.prefetch_views(batch)

    def begin_step(self, batch: Batch) -> None:
        """Starts the step of a batch whose views were prefetched: `view_batch` returns the first of them next."""
        if self.workers is not None:
            self.workers.begin_step(batch)

    @torch.no_grad()
    def view_batch(self, batch: Batch) -> Images:
        """A random view of each image of a batch; within the batch's step, the next prefetched one if any.

        Args:
            batch: on its device, images in 0..1.
        """
        if self.workers is None or (view := self.workers.next_view(batch)) is None:
            return self(batch.image, batch.domain)
        with torch.autocast(view.device.type, enabled=False):
            return self._add_stroke_changes(view, batch.domain == Domain.SKETCH)

    @torch.no_grad()
    def __call__(self, image: Images, domain: Int[Tensor, " b"]) -> Images:
        """A random view of each image, [b, 3, h, w] in 0..1, in the same order."""
        with torch.autocast(image.device.type, enabled=False):
            sketch = domain == Domain.SKETCH
            if self.workers is not None:
                return self._add_stroke_changes(self.workers(image, domain), sketch)
            if sketch.all():
                return self._sketch_view(image)
            if not sketch.any():
                return self._apply_sequence(self._photo, image)
            views = torch.empty_like(image)
            views[sketch] = self._sketch_view(image[sketch])
            views[~sketch] = self._apply_sequence(self._photo, image[~sketch])
            return views

    def _sketch_view(self, image: Images) -> Images:
        return 1 - self._apply_sequence(self._sketch, self._distort_strokes(1 - image))

    def _add_stroke_changes(self, view: Images, sketch: Bool[Tensor, " b"]) -> Images:
        """Torchvision's views, the lines of sketches deformed as `stroke_noise` does."""
        if (self._config.elastic or self._config.stroke_width or self._config.stroke_gaps) and sketch.any():
            view[sketch] = 1 - self._distort_strokes(1 - view[sketch])
        return view

    def _distort_strokes(self, ink: Images) -> Images:
        config = self._config
        ink = deform_strokes(ink, config.elastic) if config.elastic else ink
        ink = vary_stroke_width(ink, config.stroke_width) if config.stroke_width else ink
        return cut_stroke_gaps(ink, config.stroke_gaps) if config.stroke_gaps else ink

    def _apply_sequence(self, sequence: K.AugmentationSequential | None, image: Images) -> Images:
        image = random_crop(image, self._crop) if self._crop < 1 else image
        return sequence(image).clamp(0, 1) if sequence is not None else image


def _augmentation_sequence(steps: list[Any]) -> K.AugmentationSequential | None:
    return K.AugmentationSequential(*steps, data_keys=["input"]) if steps else None


def _geometric_steps(config: AugmentConfig, padding: str) -> list[Any]:
    affine = K.RandomAffine(
        config.rotation,
        translate=(config.shift, config.shift),
        scale=(1 - config.zoom, 1 + config.zoom),
        padding_mode=padding,
        p=0.8,
    )
    moves = bool(config.rotation or config.shift or config.zoom)
    return [K.RandomHorizontalFlip(p=config.flip)] * (config.flip > 0) + [affine] * moves


def _perspective_steps(config: AugmentConfig) -> list[Any]:
    return [K.RandomPerspective(config.perspective, p=0.5)] * (config.perspective > 0)


def _appearance_steps(config: AugmentConfig) -> list[Any]:
    c = config.color_jitter
    jitter = K.ColorJitter(0.4 * c, 0.4 * c, 0.4 * c, 0.1 * c, p=0.8)
    blur = K.RandomGaussianBlur((5, 5), (0.1, 1.5), p=config.blur)
    return (
        [jitter] * (c > 0)
        + [K.RandomGrayscale(p=config.grayscale)] * (config.grayscale > 0)
        + [blur] * (config.blur > 0)
    )


def _erasing_steps(config: AugmentConfig) -> list[Any]:
    return [K.RandomErasing((0.02, 0.15), p=config.erase)] * (config.erase > 0)


def random_crop(image: Images, min_area: float, max_area: float = 1.0) -> Images:
    """A random crop of each image, resized back to [b, 3, h, w].

    Args:
        image: values in 0..1.
        min_area: smallest fraction of the area that is kept; the aspect ratio varies by up to a third.
        max_area: largest fraction of the area.
    """
    b, device = len(image), image.device
    area = torch.empty(b, device=device).uniform_(min_area, max_area)
    ratio = torch.empty(b, device=device).uniform_(-0.29, 0.29).exp().sqrt()
    size = (torch.stack([area.sqrt() * ratio, area.sqrt() / ratio], 1)).clamp(max=1)
    offset = (torch.rand(b, 2, device=device) * 2 - 1) * (1 - size)
    theta = torch.cat([torch.diag_embed(size), offset[:, :, None]], 2)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def pseudo_sketch(photo: Images, detector: str = "mixed") -> Images:
    """An edge drawing of each photo, dark lines on white, [b, 3, h, w] in 0..1.

    Args:
        photo: values in 0..1.
        detector: `sobel` (soft lines), `canny` (thin, hard lines) or `mixed` (a random blend for each photo).

    Raises:
        KeyError: the detector is unknown.
    """
    if not len(photo):
        return photo
    grey = gaussian_blur2d(photo.mean(1, keepdim=True), (3, 3), (0.8, 0.8))
    if detector == "mixed":
        share = torch.rand(len(photo), 1, 1, 1, device=photo.device)
        ink = share * _sobel_ink(grey) + (1 - share) * _canny_ink(grey)
    else:
        ink = {"sobel": _sobel_ink, "canny": _canny_ink}[detector](grey)
    return (1 - ink).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()


def _sobel_ink(grey: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    edges = sobel(grey)
    strongest = edges.flatten(1).quantile(0.98, dim=1).clamp(min=1e-3)
    return (edges / strongest[:, None, None, None] - 0.15).clamp(0, 1)


def _canny_ink(grey: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    # Texture all over a photo (gravel, leaves) would cover the page with lines: contrast is lowered until the
    # thresholds leave the strongest tenth of its edges.
    strong = sobel(grey).flatten(1).quantile(0.9, dim=1).clamp(min=0.05)
    softened = grey * (0.05 / strong)[:, None, None, None]
    _, edges = canny(softened, low_threshold=0.1, high_threshold=0.25, hysteresis=False)
    return gaussian_blur2d(_track_hysteresis(edges), (3, 3), (0.6, 0.6)).mul(1.6).clamp(0, 1)


def _track_hysteresis(edges: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Canny's last step: of its edges (1 strong, 0.5 weak), the lines that are strong somewhere, 1 on 0.

    Equals kornia's hysteresis, which follows all lines pixel by pixel with one round of convolutions each and takes a
    hundred times as long on a CPU.
    """
    lines, count = ndimage.label((edges[:, 0] > 0).cpu().numpy(), EIGHT_NEIGHBORHOOD)
    line = torch.from_numpy(lines).long().to(edges.device)[:, None]
    strong = torch.zeros(count + 1, device=edges.device)
    strong[line[edges == 1]] = 1
    return strong[line].to(edges.dtype)
