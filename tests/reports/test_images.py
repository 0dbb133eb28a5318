import base64
import io

import numpy as np
import pytest
from PIL import Image

from ssl_sbir.reports.page_images import data_uri, heat_map, to_page_image, to_pil, viridis_colors


def read(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
def test_a_picture_reads_back_with_its_size(kind):
    image = to_page_image(np.full((30, 40, 3), 200, np.uint8), kind=kind)
    assert image.uri.startswith(f"data:image/{kind};base64,")
    assert (image.width, image.height) == read(image.uri).size == (40, 30)
    assert abs(int(np.asarray(read(image.uri).convert("RGB")).mean()) - 200) <= 2


def test_png_is_exact_and_floats_are_shares():
    array = np.random.default_rng(0).random((5, 7, 3))
    assert np.abs(np.asarray(read(data_uri(array, "png"))) / 255 - array).max() <= 0.5 / 255 + 1e-6


def test_large_images_shrink_and_small_ones_stay():
    assert (lambda p: (p.width, p.height))(to_page_image(np.zeros((100, 200), np.uint8), side=50)) == (50, 25)
    assert (lambda p: (p.width, p.height))(to_page_image(np.zeros((10, 20), np.uint8), side=50)) == (20, 10)


def test_jpeg_puts_transparency_on_white():
    clear = np.zeros((8, 8, 4), np.uint8)
    assert np.asarray(read(data_uri(clear, "jpeg"))).min() >= 250


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_every_mode_becomes_rgb_or_rgba(mode):
    assert to_pil(Image.new(mode, (3, 3))).mode in ("RGB", "RGBA")


def test_colours_get_lighter_all_the_way():
    lightness = viridis_colors(np.linspace(0, 1, 64)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert viridis_colors(1).tolist() == [253, 231, 37]


def test_a_heat_map_is_solid_where_the_map_is_high_and_clear_where_it_is_zero():
    values = np.zeros((4, 4))
    values[0, 3] = 1
    heat = np.asarray(heat_map(values, (80, 40)))
    assert heat.shape == (40, 80, 4)
    assert np.unravel_index(heat[..., 3].argmax(), (40, 80)) >= (0, 60)
    assert heat[30, 10, 3] == 0
    assert heat[2, 75, 3] > 150
