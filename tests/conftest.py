"""Small real data for every test: drawn shapes as photos and sketches, and the benchmark where it is present."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optional_parts import hidden_parts, hide_optional_parts, needs_chromium, needs_sketchy_mini
from PIL import Image, ImageDraw

hide_optional_parts(hidden_parts())

# Networks this small lose more than they gain by sharing a batch between threads.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

SHAPES = ("circle", "square", "triangle", "cross", "bar", "ring")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache; all tests of a session share one."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("SSL_SBIR_CACHE", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 12 photos (coloured, on noise) and 12 sketches (outlines) of each of six shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(0)
    for name in SHAPES:
        for number in range(12):
            for domain in ("photo", "sketch"):
                file = folder / domain / name / f"{number:02}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                _draw(name, domain, random).save(file)
    return folder


def _draw(name: str, domain: str, random: np.random.Generator) -> Image.Image:
    if domain == "photo":
        image = Image.fromarray(random.integers(90, 160, (40, 40, 3), dtype=np.uint8))
        colour = tuple(int(v) for v in random.choice([30, 60, 220, 250], 3))
        fill, line = colour, colour
    else:
        image, fill, line = Image.new("RGB", (40, 40), "white"), None, "black"
    draw, (x, y), r = ImageDraw.Draw(image), random.integers(15, 25, 2), int(random.integers(9, 13))
    box = (x - r, y - r, x + r, y + r)
    if name == "circle":
        draw.ellipse(box, fill=fill, outline=line, width=2)
    elif name == "ring":
        draw.ellipse(box, outline=line, width=5)
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=line)
    elif name == "square":
        draw.rectangle(box, fill=fill, outline=line, width=2)
    elif name == "triangle":
        draw.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=fill, outline=line)
    elif name == "bar":
        draw.rectangle((x - r, y - 3, x + r, y + 3), fill=fill, outline=line, width=2)
    else:
        draw.line((x - r, y - r, x + r, y + r), fill=line, width=4)
        draw.line((x - r, y + r, x + r, y - r), fill=line, width=4)
    return image


@pytest.fixture(scope="session")
def sketchy_mini() -> Path:
    """The benchmark's folder; skips where `SSL_SBIR_DATA` doesn't name its parent."""
    return needs_sketchy_mini()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium that playwright drives; skips without it."""
    program = needs_chromium()
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Lists skipped tests in the file that SSL_SBIR_SKIPPED names, so that another run can take up just these."""
    file = os.environ.get("SSL_SBIR_SKIPPED")
    if file and report.skipped and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(file).open("a", encoding="utf-8") as skipped:
            skipped.write(f"{report.nodeid}\n")
