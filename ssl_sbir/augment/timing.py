"""Times both ways to make views on this machine: kornia on the device, or torchvision in threads."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ssl_sbir.augment.kornia_views import Augment
from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Batch

MIN_SPEEDUP = 1.1
"""How many times faster torchvision must be to be worth its threads."""


@dataclass(frozen=True)
class AugmentTiming:
    """Views per second of each backend.

    Attributes:
        device: where kornia ran.
        size: side of an image in pixels.
        kornia: views per second, including the move of the images to the device.
        torchvision: views per second, including the move of the views to the device.
    """

    device: str
    size: int
    kornia: float
    torchvision: float

    @property
    def recommended_backend(self) -> str:
        """The backend to use."""
        return "torchvision" if self.torchvision > MIN_SPEEDUP * self.kornia else "kornia"

    def facts(self) -> dict[str, Any]:
        """All fields and the recommended setting, JSON-able."""
        return {
            **asdict(self),
            "advice": self.recommended_backend,
            "setting": f"augment.backend={self.recommended_backend}",
        }


def time_augmentation(
    config: AugmentConfig, size: int = 96, images: int = 64, seconds: float = 4.0, device: str = "auto"
) -> AugmentTiming:
    """Times both backends alternately on the same images, half of them sketches.

    Args:
        config: the views to make; its backend is ignored.
        size: side of an image in pixels.
        images: images in a batch.
        seconds: how long to measure, both backends together.
        device: where kornia runs; "auto" is a GPU if there is one.
    """
    kornia_device = torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    )
    batch = _random_batch(images, size)
    makers = {
        name: _create_view_maker(config, name, batch, kornia_device) for name in ("kornia", "torchvision")
    }
    for make in makers.values():
        make()
    spent, made = dict.fromkeys(makers, 0.0), 0
    while sum(spent.values()) < seconds:
        for name, make in makers.items():
            begun = time.perf_counter()
            make()
            spent[name] += time.perf_counter() - begun
        made += images
    return AugmentTiming(str(kornia_device), size, *(made / spent[name] for name in makers))


def _create_view_maker(
    config: AugmentConfig, backend: str, batch: Batch, device: torch.device
) -> Callable[[], None]:
    augment, step = Augment(config.model_copy(update={"backend": backend})), iter(range(1 << 60))

    def make_views() -> None:
        read = replace(batch, key=(0, next(step), 0))
        augment.prefetch_views(read)
        moved = read.to(device)
        augment.begin_step(moved)
        augment.view_batch(moved)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return make_views


def _random_batch(images: int, size: int) -> Batch:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (images, 3, 8, 8), generator=draw).float()
    pixels = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").to(torch.uint8)
    domain = (torch.arange(images) >= images // 2).long()
    pixels[domain == 0] = torch.where(pixels[domain == 0] < 60, 0, 255).to(torch.uint8)
    return Batch(pixels, domain, torch.full((images,), -1), torch.arange(images))
