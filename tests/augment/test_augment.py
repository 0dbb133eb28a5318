import numpy as np
import pytest
import torch
from kornia.filters import canny, gaussian_blur2d

from ssl_sbir.augment.kornia_views import Augment, _track_hysteresis, pseudo_sketch, random_crop
from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.augment.torchvision_views import ThreadedAugment
from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import DataError
from ssl_sbir.training.contact_sheet import contact_sheet

STRONG = AugmentConfig(
    rotation=40,
    shift=0.3,
    zoom=0.4,
    perspective=0.4,
    min_crop_area=0.5,
    color_jitter=1,
    grayscale=0.3,
    blur=0.5,
)
BACKENDS = pytest.mark.parametrize("backend", ["kornia", "torchvision"])


def by(backend, config=STRONG, **changes):
    return Augment(config.model_copy(update={"backend": backend, **changes}))


def paper(b=16, side=48):
    """White paper with a black stroke down the middle."""
    image = torch.ones(b, 3, side, side)
    image[:, :, 8:40, 22:26] = 0
    return image


@BACKENDS
def test_what_comes_in_from_outside_a_sketch_is_white_paper(backend):
    page = torch.ones(16, 3, 48, 48)
    page[:, :, 21:27, 21:27] = 0  # ink too far from the corners to be moved there
    views = by(backend, min_crop_area=1.0)(page, torch.zeros(16, dtype=torch.int64))
    for corner in (views[:, :, 0, 0], views[:, :, 0, -1], views[:, :, -1, 0], views[:, :, -1, -1]):
        torch.testing.assert_close(corner, torch.ones_like(corner), atol=1e-4, rtol=0)


@BACKENDS
def test_sketches_stay_without_colour_and_photos_do_not(backend):
    photo = torch.rand(8, 3, 1, 1).expand(-1, -1, 48, 48).contiguous()
    domain = torch.tensor([0] * 8 + [1] * 8)
    views = by(backend)(torch.cat([paper(8), photo]), domain)
    torch.testing.assert_close(views[:8, 0], views[:8, 2])
    assert (views[8:] - photo).abs().mean() > 0.02


@BACKENDS
def test_parameters_differ_from_image_to_image(backend):
    views = by(backend, AugmentConfig())(paper(), torch.zeros(16, dtype=torch.int64))
    assert len({v.numpy().tobytes() for v in views}) > 8


@BACKENDS
def test_the_order_of_a_mixed_batch_is_kept(backend):
    still = AugmentConfig(flip=0, rotation=0, shift=0, zoom=0)
    image, domain = torch.rand(6, 3, 32, 32), torch.tensor([1, 0, 0, 1, 0, 1])
    torch.testing.assert_close(by(backend, still)(image, domain), image, atol=1 / 255, rtol=0)


@BACKENDS
@pytest.mark.parametrize(
    "change",
    [
        "rotation",
        "shift",
        "zoom",
        "perspective",
        "min_crop_area",
        "color_jitter",
        "grayscale",
        "blur",
        "elastic",
        "stroke_width",
        "stroke_gaps",
        "erase",
    ],
)
def test_each_strength_changes_its_own_domain(backend, change):
    strengths = {"rotation": 90, "shift": 0.4, "zoom": 0.5, "elastic": 0.05, "min_crop_area": 0.2}
    still = AugmentConfig(flip=0, rotation=0, shift=0, zoom=0)
    torch.manual_seed(0)
    photo = torch.rand(12, 3, 6, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    image, domain = torch.cat([paper(12), photo]), torch.tensor([0] * 12 + [1] * 12)
    views = by(backend, still, **{change: strengths.get(change, 1.0)})(image, domain)
    moved = [float((views - image)[part].abs().mean()) > 0.002 for part in (slice(12), slice(12, None))]
    sketches_only = ("perspective", "elastic", "stroke_width", "stroke_gaps")
    photos_only = ("color_jitter", "grayscale", "blur")
    assert moved == [change not in photos_only, change not in sketches_only]
    assert views.amin() >= 0
    assert views.amax() <= 1


def test_a_view_made_in_threads_is_a_function_of_image_and_seed():
    image, domain = (paper(12) * 255).to(torch.uint8), torch.tensor([0, 1] * 6)
    workers = ThreadedAugment(STRONG)
    views = workers.sample_views(image, domain, (3, 1))
    assert torch.equal(views, ThreadedAugment(STRONG).sample_views(image, domain, (3, 1)))
    assert torch.equal(views[:5], workers.sample_views(image[:5], domain[:5], (3, 1)))
    assert not torch.equal(views, workers.sample_views(image, domain, (3, 2)))


def test_a_crop_of_everything_is_the_image():
    image = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(
        random_crop(image, 1.0)[:, :, 8:24, 8:24].mean(), image[:, :, 8:24, 8:24].mean(), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("detector", ["sobel", "canny", "mixed"])
def test_a_pseudo_sketch_draws_the_edge_dark_on_white(detector):
    photo = torch.full((2, 3, 48, 48), 0.2)
    photo[:, :, :, 24:] = 0.9
    drawn = pseudo_sketch(photo, detector)
    assert drawn[:, :, 8:40, 22:26].amin(3).max() < 0.6
    assert drawn[:, :, 8:40, 4:16].min() > 0.95
    assert drawn[:, :, 8:40, 32:44].min() > 0.95


def test_lines_are_followed_as_kornia_follows_them():
    grey = gaussian_blur2d(
        torch.rand(8, 1, 48, 48, generator=torch.Generator().manual_seed(0)), (5, 5), (1, 1)
    )
    grey = 2 * grey.cumsum(3).frac()  # edges within an image, also along its sides
    _, plain = canny(grey, 0.3, 0.8, hysteresis=False)
    _, expected = canny(grey, 0.3, 0.8)
    assert 0 < expected.sum() < (plain > 0).sum()
    assert torch.equal(_track_hysteresis(plain), expected)
    assert not _track_hysteresis(torch.where(plain == 1, 0, plain)).any()


def test_contrast_does_not_decide_how_much_canny_draws_of_a_texture():
    draw = torch.Generator().manual_seed(0)
    grain = torch.rand(1, 1, 24, 24, generator=draw)
    gravel = torch.nn.functional.interpolate(grain, size=(64, 64), mode="bicubic").clamp(0, 1)
    softer = 0.5 + 0.6 * (gravel - 0.5)
    page, other = 1 - pseudo_sketch(torch.cat([gravel, softer]).expand(2, 3, 64, 64), "canny")[:, 0]
    assert 0 < page.mean() < 0.45
    assert (page - other).abs().mean() < 0.05
    thing = torch.full((1, 3, 64, 64), 0.3)
    thing[:, :, 16:48, 16:48] = 0.6
    assert 1 - pseudo_sketch(thing, "canny")[0, 0, 14:18, 20:44].amin(0).max() > 0.5


def test_a_contact_sheet_shows_every_view_and_is_repeatable(shapes):
    manifest = open_data(f"folder:{shapes}")
    pack = prepare_pack(manifest, 32)
    sheets = [np.asarray(contact_sheet(manifest, pack, STRONG, images=3, views=4, seed=1)) for _ in range(2)]
    assert sheets[0].shape == (2 * 3 * 40, (1 + 4 + 2 * 3) * 40, 3)
    assert np.array_equal(*sheets)


def test_nothing_readable_is_said(tmp_path):
    for domain in ("sketch", "photo"):
        (tmp_path / domain / "a").mkdir(parents=True)
        (tmp_path / domain / "a" / "1.png").write_bytes(b"")
    manifest = open_data(f"folder:{tmp_path}")
    with pytest.raises(DataError, match="read"):
        contact_sheet(manifest, prepare_pack(manifest, 32), STRONG)
