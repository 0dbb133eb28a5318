"""Random views of a batch, on its device by kornia or in threads by torchvision: photos, and ink on white paper."""

from typing import Any, Literal

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from kornia.filters import canny, gaussian_blur2d, sobel
from pydantic import Field
from scipy import ndimage
from torch import Tensor

from ssl_sbir.augment.stroke_noise import cut_stroke_gaps, deform_strokes, vary_stroke_width
from ssl_sbir.augment.torchvision_views import ThreadedAugment
from ssl_sbir.config import Config
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain

Images = Float[Tensor, "b 3 h w"]
EIGHT_NEIGHBORHOOD = [
    [[0] * 3] * 3,
    [[1] * 3] * 3,
    [[0] * 3] * 3,
]  # the eight pixels around one, in its own image


class AugmentConfig(Config):
    """How far a view may stray from its image; 0 switches a change off."""

    backend: Literal["kornia", "torchvision"] = Field(
        "kornia",
        description="kornia: batches, on the device; torchvision: image by image, in threads, ahead of the "
        "step unless the recipe draws the photos in it (selflabel, labelfree, crossmodal, coclr); ssl-sbir doctor "
        "--augment times both",
    )
    flip: float = Field(0.5, ge=0, le=1, description="chance of a left-right flip")
    rotation: float = Field(20.0, ge=0, le=180, description="largest rotation, degrees")
    shift: float = Field(0.08, ge=0, le=0.5, description="largest shift, as a share of the side")
    zoom: float = Field(0.25, ge=0, lt=1, description="scale between 1 - zoom and 1 + zoom")
    perspective: float = Field(0.0, ge=0, le=1, description="largest perspective distortion of sketches")
    min_crop_area: float = Field(
        1.0, gt=0, le=1, description="smallest share of the area that a random crop keeps"
    )
    color_jitter: float = Field(0.0, ge=0, le=1, description="strength of colour jitter; photos only")
    grayscale: float = Field(0.0, ge=0, le=1, description="chance that a photo loses its colour")
    blur: float = Field(0.0, ge=0, le=1, description="chance that a photo is blurred")
    elastic: float = Field(
        0.0, ge=0, le=0.1, description="how far a sketch's lines are bent, as a share of the side"
    )
    stroke_width: float = Field(
        0.0, ge=0, le=1, description="chance that a sketch's lines become wider or thinner"
    )
    stroke_gaps: float = Field(
        0.0, ge=0, le=1, description="chance that parts of a sketch's lines are left out"
    )
    erase: float = Field(0.0, ge=0, le=1, description="chance that a patch is wiped out (white on a sketch)")


class Augment:
    """Draws one random view of each image; parameters differ from image to image.

    Sketches are turned to white-on-black first, so that whatever geometry brings in from outside is white
    paper; they get no colour change.

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

    def prefetch_views(self, batch: Batch, seed: tuple[int, ...]) -> None:
        """Makes the views of a batch that was just read, where that is done on the CPU; other threads may call."""
        if self.workers is not None:
            self.workers.prefetch_views(batch, seed)

    def begin_step(self, batch: Batch) -> None:
        """Says that the step of the next batch that was read begins, and what that batch is on its device."""
        if self.workers is not None:
            self.workers.begin_step(batch)

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
        """Torchvision's views, with what a hand does to a sketch's lines."""
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
        min_area: smallest share of the area that is kept; the aspect ratio varies by up to a third.
        max_area: largest share of the area.
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
    """A drawing of each photo, dark lines on white, [b, 3, h, w] in 0..1.

    Args:
        photo: values in 0..1.
        detector: `sobel` (soft lines), `canny` (thin, hard lines) or `mix` (a random blend for each photo).

    Raises:
        KeyError: the detector has another name.
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
    # A photo that is texture all over (gravel, leaves) would become a page full of worms: its contrast is lowered
    # until the thresholds leave the strongest tenth of its edges.
    strong = sobel(grey).flatten(1).quantile(0.9, dim=1).clamp(min=0.05)
    softened = grey * (0.05 / strong)[:, None, None, None]
    _, edges = canny(softened, low_threshold=0.1, high_threshold=0.25, hysteresis=False)
    return gaussian_blur2d(_track_hysteresis(edges), (3, 3), (0.6, 0.6)).mul(1.6).clamp(0, 1)


def _track_hysteresis(edges: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Canny's last step: of its edges (1 strong, 0.5 weak) the lines that are strong somewhere, 1 on 0.

    What kornia's own gives, which walks along all lines pixel by pixel, a round of convolutions each: a hundred times
    as long on a processor.
    """
    lines, count = ndimage.label((edges[:, 0] > 0).cpu().numpy(), EIGHT_NEIGHBORHOOD)
    line = torch.from_numpy(lines).long().to(edges.device)[:, None]
    strong = torch.zeros(count + 1, device=edges.device)
    strong[line[edges == 1]] = 1
    return strong[line].to(edges.dtype)
