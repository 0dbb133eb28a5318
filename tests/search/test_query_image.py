"""Every form of an image becomes the same pixels; what can't be searched for is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_sbir.data.sketch_warnings import blank_tone, sketch_warnings
from ssl_sbir.errors import QueryError
from ssl_sbir.search.query_image import is_strokes, to_query_image

SQUARE = [[[20, 230, 230, 20, 20], [20, 20, 230, 230, 20]]]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M1 1h6v6z" stroke="#000" fill="none"/></svg>'


def test_one_picture_in_every_form(tmp_path: Path):
    grey = np.full((32, 32), 255, np.uint8)
    grey[8:24, 8] = 0
    colour = np.repeat(grey[:, :, None], 3, 2)
    Image.fromarray(colour).save(tmp_path / "q.png")
    forms = [
        tmp_path / "q.png",
        str(tmp_path / "q.png"),
        Image.fromarray(grey),
        grey,
        colour,
        colour / 255,
        colour / 255 + np.where(colour == 255, 0.02, 0),  # resampling goes beyond 1
        torch.from_numpy(colour / 255).requires_grad_(),
        torch.from_numpy(colour / 255).bfloat16(),
        torch.from_numpy(colour).permute(2, 0, 1),
    ]
    for form in forms:
        assert (to_query_image(form, "sketch").load_pixels(32, "squash") == colour).all()


def test_strokes_and_svg_are_drawn(tmp_path: Path):
    pytest.importorskip("resvg_py", reason="resvg-py is not installed")
    (tmp_path / "d.svg").write_text(SVG)
    for form in (SQUARE, {"word": "square", "drawing": SQUARE}, SVG, tmp_path / "d.svg"):
        pixels = to_query_image(form, "sketch").load_pixels(64, "squash")
        assert 0.01 < (pixels < 128).mean() < 0.4
        assert sketch_warnings(pixels) == []
    assert is_strokes(SQUARE)
    assert is_strokes([np.array(stroke) for stroke in SQUARE])
    assert not is_strokes([np.zeros((4, 4)), np.zeros((4, 4))])
    assert not is_strokes(["a.png", "b.png"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere.png", "no such file"),
        ("x" * 5000, "no such file"),
        ("a\0b", "no such file"),
        (3, "of type int"),
        (np.zeros((2, 2, 2, 2)), r"of shape \[2, 2, 2, 2\]"),
        ({"drawing": [[[1, 2], [3]]]}, "can't be drawn"),
        ("<svg", "SVG drawing can't be read"),
    ],
)
def test_what_is_no_picture_is_named(given, said):
    with pytest.raises(QueryError, match=said):
        to_query_image(given, "sketch")


def test_a_file_that_is_no_image_is_named(tmp_path: Path):
    (tmp_path / "q.png").write_bytes(b"no image")
    with pytest.raises(QueryError, match=r"q\.png: not an image"):
        to_query_image(tmp_path / "q.png", "sketch").load_pixels(32, "squash")


def test_blank_black_inverted_and_photo_like_drawings():
    white = np.full((64, 64, 3), 255, np.uint8)
    assert blank_tone(white) == blank_tone(white - 23) == "blank"
    assert blank_tone(np.zeros_like(white)) == "black all over"
    drawing = white.copy()
    drawing[10:50, 10:13] = 0
    assert blank_tone(drawing) is None
    assert sketch_warnings(drawing) == []
    assert "light on dark" in sketch_warnings(255 - drawing)[0]
    noise = np.random.default_rng(0).integers(0, 255, white.shape, dtype=np.uint8)
    smooth = np.linspace(0, 255, 64).astype(np.uint8)[:, None, None].repeat(64, 1).repeat(3, 2)
    assert "looks like a photo" in sketch_warnings(noise // 4 + smooth // 4 * 3)[0]


def test_hardly_a_sketch_is_taken_for_a_photo_and_most_photos_are_told(sketchy_mini: Path):
    def share(folder: str) -> float:
        files = sorted((sketchy_mini / folder).glob("*/*"))[::60]
        pixels = [to_query_image(it, "sketch").load_pixels(96, "squash") for it in files]
        return sum("like a photo" in "".join(sketch_warnings(image)) for image in pixels) / len(files)

    assert share("sketch") <= 0.02
    assert share("photo") >= 0.6


@pytest.mark.parametrize("scale", [1 / 255, 1, 7, -3])
def test_strokes_of_any_range_come_onto_the_canvas(scale):
    given = [[[x * scale + (scale > 1) * 90 for x in xs], [y * scale for y in ys]] for xs, ys in SQUARE]
    pixels = to_query_image(given, "sketch").load_pixels(64, "squash")
    assert 0.03 < (pixels < 128).mean() < 0.4
    assert sketch_warnings(pixels) == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_strokes_that_lie_nowhere_are_refused(wrong):
    with pytest.raises(QueryError, match="not a number"):
        to_query_image([[[1, wrong, 3], [4, 5, 6]]], "sketch")


def test_lines_too_thin_for_their_page_are_called_that():
    page = np.full((3000, 3000), 255, np.uint8)
    page[500:2500, 1500] = 0
    with pytest.raises(QueryError, match="vanish at 32 px"):
        to_query_image(page, "sketch").load_sketch(32, "squash")
    page[:, :] = 255
    with pytest.raises(QueryError, match="is blank"):
        to_query_image(page, "sketch").load_sketch(32, "squash")
