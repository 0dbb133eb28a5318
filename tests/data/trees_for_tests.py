"""Small image trees, written as fast as a test can."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(file: Path, value: int = 100, size: tuple[int, int] = (8, 8)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value // 2, 255 - value)).save(file)
    return file


def write_tree(root: Path, layout: dict[str, int], suffix: str = ".png") -> Path:
    """`layout` maps class folders to how many images each gets."""
    for folder, count in layout.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write_image(root / folder / f"{number}{suffix}", 10 * number)
    return root


def noise(file: Path, size: int = 64) -> bytes:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file.read_bytes()
