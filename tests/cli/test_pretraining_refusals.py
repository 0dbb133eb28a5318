"""What pretraining can't learn from is named, with the next step and exit code 2, and no run is left behind."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ssl_sbir.cli import app

TINY = ("encoder.name=timm:test_efficientnet", "encoder.pretrained=false", "encoder.size=32", "optim.max_steps=2",
        "batch.sketches=8", "batch.photos=8")  # fmt: skip


def pretrain(recipe, data, out, *settings):
    sets = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    return CliRunner().invoke(app, ["pretrain", recipe, "--data", f"folder:{data}", "--out", str(out), *sets])


def refused(result, *texts):
    said = re.sub(r"\s+", " ", result.stderr)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for text in texts:
        assert text in said


@pytest.fixture
def pictures(tmp_path):
    """Makes a folder of so many photos and sketches, all alike or none."""

    def make(photos, sketches, *, alike=False):
        random = np.random.default_rng(0)
        for domain, count in (("photo", photos), ("sketch", sketches)):
            (tmp_path / "data" / domain).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(255, size=(32, 32, 3), dtype=np.uint8)
                image = Image.fromarray(np.full_like(pixels, 90) if alike else pixels)
                image.save(tmp_path / "data" / domain / f"{number}.png")
        return tmp_path / "data"

    return make


def test_a_single_image_has_nothing_to_be_told_from(pictures, tmp_path):
    data = pictures(1, 0)
    refused(pretrain("simclr", data, tmp_path / "run"), "a batch wants 16 photo images but", "has 1")
    alone = ("batch.photos=1", "batch.sketches=0")
    refused(
        pretrain("byol", data, tmp_path / "run", *alone), "byol compares images", "a single photo", "has 1"
    )
    assert not (tmp_path / "run").exists()


def test_one_photo_beside_many_sketches_is_named_with_the_way_out(pictures, tmp_path):
    data = pictures(1, 12)
    one = pretrain("moco", data, tmp_path / "run", "batch.photos=1")
    refused(one, "a single photo", "--set batch.photos=0")
    result = pretrain("moco", data, tmp_path / "other", "batch.photos=0")
    assert result.exit_code == 0, result.output


def test_images_that_are_all_the_same_are_refused(pictures, tmp_path):
    refused(
        pretrain("vicreg", pictures(9, 0, alike=True), tmp_path / "run"), "all 9 photo images", "same pixels"
    )
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_data_is_refused(shapes, tmp_path):
    refused(
        pretrain("swav", shapes, tmp_path / "run", "batch.photos=100"),
        "a batch wants 100 photo images but",
        "has 72",
        "Lower batch.photos",
    )


def test_a_size_that_the_encoder_cannot_take_is_refused(shapes, tmp_path):
    refused(pretrain("dino", shapes, tmp_path / "run", "encoder.name=timm:test_vit", "encoder.size=37"), "37")


@pytest.mark.parametrize("recipe", ["crossmodal", "selflabel"])
def test_a_method_of_photos_without_photos_says_so(shapes, tmp_path, recipe):
    shutil.copytree(shapes / "sketch", tmp_path / "data/sketch")
    refused(pretrain(recipe, tmp_path / "data", tmp_path / "run"), "photos")
