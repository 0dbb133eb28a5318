"""What pretraining can't learn from is named, with the next step and exit code 2, and no run is left behind."""

import re
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.run import RunFolder

TINY = ("encoder.name=timm:test_efficientnet", "encoder.pretrained=false", "encoder.size=32", "optim.max_steps=2",
        "batch.sketches=8", "batch.photos=8")  # fmt: skip


def pretrain(recipe, data, out, *settings, more=()):
    sets = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    arguments = ["pretrain", recipe, "--data", f"folder:{data}", "--out", str(out), *sets, *more]
    return CliRunner().invoke(app, arguments)


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
    both = "Lower batch.sketches and batch.photos with --set: photos fill the whole batch"
    refused(pretrain("simclr", data, tmp_path / "run"), "a batch needs 16 photo images but", "has 1", both)
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
        "a batch needs 100 photo images but",
        "has 72",
        "Lower batch.photos",
    )


def test_a_size_that_the_encoder_cannot_take_is_refused(shapes, tmp_path):
    refused(pretrain("dino", shapes, tmp_path / "run", "encoder.name=timm:test_vit", "encoder.size=37"), "37")


@pytest.mark.parametrize("recipe", ["crossmodal", "selflabel"])
def test_a_method_of_photos_without_photos_says_so(shapes, tmp_path, recipe):
    shutil.copytree(shapes / "sketch", tmp_path / "data/sketch")
    refused(pretrain(recipe, tmp_path / "data", tmp_path / "run"), "photos")


@pytest.mark.parametrize("recipe", ["crossmodal", "coclr", "ucdir", "labelfree"])
def test_a_single_photo_a_step_is_refused_by_methods_of_photos(pictures, tmp_path, recipe):
    one = ("batch.photos=1", "batch.sketches=0", "teacher_size=32", "encoder.towers=separate")
    result = pretrain(recipe, pictures(9, 0), tmp_path / "run", *one)
    assert result.exit_code == 2, result.output
    assert re.search(r"batch.photos = 1|a single photo", result.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("absent", ["photos", "sketches"])
def test_pairs_of_one_domain_are_refused(shapes, tmp_path, absent):
    result = pretrain("simclr", shapes, tmp_path / "run", "batch.pairs=true", f"batch.{absent}=0")
    there = "sketches" if absent == "photos" else "photos"
    refused(result, f"batch.pairs: a batch holds {there} only", "Give photos and sketches")
    assert not (tmp_path / "run").exists()


def test_what_cannot_replace_an_older_run_leaves_it_where_it_is(shapes, tmp_path):
    small = ("embedding_dim=16", "teacher_size=32")
    assert pretrain("crossmodal", shapes, tmp_path / "run", *small).exit_code == 0
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    for wrong in ("embedding_dim=5000", "teacher=timm:nope"):
        result = pretrain("crossmodal", shapes, tmp_path / "run", *small, wrong, more=("--overwrite",))
        assert result.exit_code == 2, result.output
        assert {f: f.read_bytes() for f in (tmp_path / "run").rglob("*") if f.is_file()} == before
        pretrain("crossmodal", shapes, tmp_path / "new", *small, wrong)
        assert not (tmp_path / "new").exists()


def test_an_accelerator_that_is_not_there_is_refused(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for asked, said in (("cuda", "not on this machine"), ("cdua", "Did you mean 'cuda'?")):
        result = pretrain("simclr", shapes, tmp_path / "run", more=("--accelerator", asked))
        refused(result, f"--accelerator {asked}", said)
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_is_not_the_start_s_is_refused(shapes, tmp_path):
    assert pretrain("simclr", shapes, tmp_path / "first", "encoder.fit=pad").exit_code == 0
    start = ("--from", str(tmp_path / "first"))
    result = pretrain("simclr", shapes, tmp_path / "second", "encoder.size=64", more=start)
    refused(result, "encoder.size = 64 (--set)", "has 32", "Leave it out")
    result = pretrain("simclr", shapes, tmp_path / "second", "encoder.name=efficientnet_lite0", more=start)
    refused(result, "encoder.name = efficientnet_lite0", "has timm:test_efficientnet")
    result = pretrain("simclr", shapes, tmp_path / "second", "encoder.fit=ink", more=start)
    refused(result, "encoder.fit = ink", "has pad")
    assert not (tmp_path / "second").exists()
    arguments = [
        "pretrain",
        "simclr",
        "--data",
        f"folder:{shapes}",
        "--out",
        str(tmp_path / "second"),
        *start,
    ]
    few = [part for setting in TINY[3:] for part in ("--set", setting)]
    assert CliRunner().invoke(app, [*arguments, *few]).exit_code == 0
    told = yaml.safe_load((tmp_path / "second/config.yaml").read_text())["encoder"]
    assert (told["name"], told["size"], told["pretrained"]) == ("timm:test_efficientnet", 32, False)
    assert told["fit"] == "pad"
    assert RunFolder.open(tmp_path / "second").encoder().preprocess.fit == "pad"
