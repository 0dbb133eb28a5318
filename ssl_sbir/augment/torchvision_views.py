"""Random views made image by image with torchvision, in CPU threads, ahead of the step that needs them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain

BILINEAR = InterpolationMode.BILINEAR
WHITE_FILL = [255.0, 255.0, 255.0]


@dataclass
class PrefetchedViews:
    """Views made for a batch before its step begins.

    Attributes:
        batch: as it was read, bytes on the CPU; the n-th view is seeded by (*batch.key, n), whenever it is made.
        views: the first views, bytes.
        used: how many views its step has taken.
    """

    batch: Batch
    views: list[UInt8[Tensor, "b 3 h w"]]
    used: int = 0


class ThreadedAugment:
    """Makes one random view of each image, each from its own generator, so that the order of threads is irrelevant.

    Args:
        config: strengths, with the same meaning as on the device.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self._views_per_batch = 0
        self._waiting: dict[tuple[int, ...], PrefetchedViews] = {}  # by the batch's key
        self._current: PrefetchedViews | None = None

    def prefetch_views(self, batch: Batch) -> None:
        """Makes as many views of a batch as earlier steps took of theirs."""
        assert batch.key is not None
        views = [
            self.sample_views(batch.image, batch.domain, (*batch.key, n))
            for n in range(self._views_per_batch)
        ]
        self._waiting[batch.key] = PrefetchedViews(batch, views)

    def begin_step(self, batch: Batch) -> None:
        """Starts the step of a batch that was prefetched."""
        assert batch.key is not None
        self._current = self._waiting.pop(batch.key)

    def __call__(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b 3 h w"]:
        """A random view of each image, in 0..1."""
        seed = int(torch.randint(2**62, ()))
        view = self.sample_views((image * 255).round().to(torch.uint8).cpu(), domain.cpu(), (seed,))
        return _to_floats(view, image.device)

    def next_view(self, batch: Batch) -> Float[Tensor, "b 3 h w"] | None:
        """The next view of the batch of the current step, on the batch's device; None for any other batch."""
        current = self._current
        if current is None or batch.key is None or batch.key != current.batch.key:
            return None
        view = self._take_view(current)
        self._views_per_batch = max(self._views_per_batch, current.used)
        return _to_floats(view, batch.image.device)

    def _take_view(self, current: PrefetchedViews) -> UInt8[Tensor, "b 3 h w"]:
        index, read = current.used, current.batch
        current.used += 1
        if index < len(current.views):
            return current.views[index]
        assert read.key is not None
        return self.sample_views(read.image, read.domain, (*read.key, index))

    def sample_views(
        self, image: UInt8[Tensor, "b 3 h w"], domain: Int[Tensor, " b"], seed: Sequence[int]
    ) -> UInt8[Tensor, "b 3 h w"]:
        """A random view of each image, a pure function of the images and the seed."""
        pixels = image.permute(0, 2, 3, 1).contiguous().numpy()
        randoms = [np.random.default_rng((*seed, index)) for index in range(len(image))]
        sketch = (domain == Domain.SKETCH).tolist()
        views = np.stack(list(_view_threads().map(self._augment_image, pixels, sketch, randoms)))
        return torch.from_numpy(views).permute(0, 3, 1, 2)

    def _augment_image(self, pixels: np.ndarray, sketch: bool, random: np.random.Generator) -> np.ndarray:
        config = self.config
        image = _crop_randomly(Image.fromarray(pixels), config.min_crop_area, random)
        if random.random() < config.flip:
            image = F.hflip(image)
        if (config.rotation or config.shift or config.zoom) and random.random() < 0.8:
            image = _apply_random_affine(image, config, sketch, random)
        if sketch and config.perspective and random.random() < 0.5:
            image = _warp_perspective(image, config.perspective, random)
        if not sketch:
            image = _jitter_colors(image, config, random)
        view = np.array(image)
        if config.erase and random.random() < config.erase:
            _erase_patch(view, 255 if sketch else 0, random)
        return view


def _to_floats(view: UInt8[Tensor, "b 3 h w"], device: torch.device) -> Float[Tensor, "b 3 h w"]:
    moved = view.to(device, non_blocking=True).float().div_(255)
    return moved.contiguous(memory_format=torch.channels_last)


def _crop_randomly(image: Image.Image, smallest: float, random: np.random.Generator) -> Image.Image:
    if smallest >= 1:
        return image
    area, ratio = random.uniform(smallest, 1), float(np.sqrt(np.exp(random.uniform(-0.29, 0.29))))
    width, height = (min(1.0, side) for side in (np.sqrt(area) * ratio, np.sqrt(area) / ratio))
    left, top = random.random() * (1 - width) * image.width, random.random() * (1 - height) * image.height
    box = (left, top, left + width * image.width, top + height * image.height)
    return image.resize(image.size, Image.Resampling.BILINEAR, box)


def _apply_random_affine(
    image: Image.Image, config: AugmentConfig, sketch: bool, random: np.random.Generator
) -> Image.Image:
    """The image rotated, shifted and scaled; outside a sketch is white paper, outside a photo its reflection."""
    size, margin = [image.height, image.width], 0 if sketch else min(image.size) // 2
    around = image if sketch else F.pad(image, [margin], padding_mode="reflect")
    moved = F.affine(
        around,
        angle=random.uniform(-config.rotation, config.rotation),
        translate=[int(random.uniform(-config.shift, config.shift) * side) for side in image.size],
        scale=random.uniform(1 - config.zoom, 1 + config.zoom),
        shear=[0.0, 0.0],
        interpolation=BILINEAR,
        fill=WHITE_FILL,
    )
    return F.center_crop(moved, size)


def _warp_perspective(image: Image.Image, strength: float, random: np.random.Generator) -> Image.Image:
    w, h = image.size
    corners = [[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]]
    inward = random.random((4, 2)) * strength * np.array([w, h]) / 2
    ends = np.array(corners) + inward * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    return F.perspective(
        image, corners, ends.round().astype(int).tolist(), interpolation=BILINEAR, fill=WHITE_FILL
    )


def _jitter_colors(image: Image.Image, config: AugmentConfig, random: np.random.Generator) -> Image.Image:
    c = config.color_jitter
    if c and random.random() < 0.8:
        for change in random.permutation(4):
            image = _COLOR_ADJUSTMENTS[change](image, c, random)
    if config.grayscale and random.random() < config.grayscale:
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if config.blur and random.random() < config.blur:
        image = F.gaussian_blur(image, [5, 5], [random.uniform(0.1, 1.5)])
    return image


_COLOR_ADJUSTMENTS = (
    lambda image, c, random: F.adjust_brightness(image, random.uniform(1 - 0.4 * c, 1 + 0.4 * c)),
    lambda image, c, random: F.adjust_contrast(image, random.uniform(1 - 0.4 * c, 1 + 0.4 * c)),
    lambda image, c, random: F.adjust_saturation(image, random.uniform(1 - 0.4 * c, 1 + 0.4 * c)),
    lambda image, c, random: F.adjust_hue(image, random.uniform(-0.1 * c, 0.1 * c)),
)


def _erase_patch(pixels: np.ndarray, value: int, random: np.random.Generator) -> None:
    h, w = pixels.shape[:2]
    area, ratio = random.uniform(0.02, 0.15) * h * w, np.exp(random.uniform(np.log(0.3), np.log(3.3)))
    high, wide = min(h, round(np.sqrt(area * ratio))), min(w, round(np.sqrt(area / ratio)))
    top, left = random.integers(h - high + 1), random.integers(w - wide + 1)
    pixels[top : top + high, left : left + wide] = value


@cache
def _view_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(os.cpu_count() or 1, 16), thread_name_prefix="view")
