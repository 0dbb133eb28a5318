"""The fit `ink`: what lies on white paper comes to one size, wherever it was drawn; other images are squashed."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ssl_sbir.data.decode_image import INK_SIDE, decode_image
from ssl_sbir.data.image_folders import FileSource


def fitted(image, size=64, fit="ink"):
    with tempfile.TemporaryDirectory() as folder:
        image.save(Path(folder) / "one.png")
        return decode_image(FileSource(Path(folder)), "one.png", size, fit)


def page(box, side=200, paper=255):
    image = Image.new("RGB", (side, side), (paper,) * 3)
    ImageDraw.Draw(image).rectangle(box, outline=(0, 0, 0), width=3)
    return image


def extent(pixels):
    rows, columns = np.nonzero(pixels.min(2) < 128)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@given(st.integers(0, 120), st.integers(0, 120), st.integers(40, 75), st.integers(40, 75))
@settings(max_examples=25, deadline=None)
def test_a_drawing_fills_the_same_share_wherever_it_was_drawn(x, y, width, height):
    top, bottom, left, right = extent(fitted(page((x, y, x + width, y + height))))
    assert abs(max(bottom - top, right - left) - INK_SIDE * 64) <= 3
    assert abs((top + bottom) / 2 - 32) <= 2
    assert abs((left + right) / 2 - 32) <= 2
    wide, high = right - left, bottom - top
    assert abs(wide / high - width / height) < 0.2


@pytest.mark.parametrize("paper", [0, 200])
def test_an_image_without_white_edges_is_squashed(paper):
    image = page((20, 30, 60, 90), paper=paper)
    assert np.array_equal(fitted(image), fitted(image, fit="squash"))


def test_blank_paper_stays_blank_and_dust_is_not_blown_up():
    assert (fitted(page((0, 0, 0, 0))) == 255).mean() > 0.8
    assert (fitted(Image.new("RGB", (90, 50), "white")) == 255).all()
    top, bottom, left, right = extent(fitted(page((100, 100, 102, 102)), size=128))
    assert max(bottom - top, right - left) <= 0.25 * 128


def test_a_wide_page_isn_t_squeezed():
    image = Image.new("RGB", (400, 100), "white")
    ImageDraw.Draw(image).ellipse((50, 20, 110, 80), outline=(0, 0, 0), width=4)
    top, bottom, left, right = extent(fitted(image))
    assert abs((bottom - top) - (right - left)) <= 2


def test_a_long_thin_picture_takes_no_more_than_others(monkeypatch):
    image = Image.new("RGB", (900, 60), "white")
    ImageDraw.Draw(image).line((60, 10, 820, 50), fill="black", width=24)
    whole = fitted(image, 128).astype(float)
    sides = []

    def watched(made, size_at):
        def call(*given, **more):
            sides.append(max(given[size_at]))
            return made(*given, **more)

        return call

    monkeypatch.setattr(Image.Image, "transform", watched(Image.Image.transform, 1))
    monkeypatch.setattr(Image, "new", watched(Image.new, 1))
    monkeypatch.setattr("ssl_sbir.data.decode_image.INK_CANVAS", 400)
    small = fitted(image, 128).astype(float)
    assert sides
    assert max(sides) <= 400
    assert abs(small - whole).mean() < 4
    for one, other in zip(extent(small), extent(whole), strict=True):
        assert abs(int(one) - int(other)) <= 1
