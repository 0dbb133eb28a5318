"""What version 0.1.0 wrote still opens: finished runs, an index, and settings under their old names."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import load_encoder
from ssl_sbir.run import RunFolder
from ssl_sbir.search.retriever import Retriever

MADE = Path(__file__).parent / "made_by_0_1_0.zip"


@pytest.fixture
def made(tmp_path):
    with zipfile.ZipFile(MADE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def run(*arguments):
    command = [sys.executable, "-m", "ssl_sbir", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_index_and_its_run_give_the_hits_of_old(made):
    result = run(
        "search", made / "index", "--run", made / "runs/sake", "--sketch", made / "query.png", "--json"
    )
    assert result.returncode == 0, result.stderr
    hits, expected = json.loads(result.stdout)["hits"], json.loads((made / "expected.json").read_text())
    assert [hit["id"] for hit in hits] == [hit["id"] for hit in expected]
    np.testing.assert_allclose([h["score"] for h in hits], [h["score"] for h in expected], atol=1e-5)


def test_runs_open_and_speak_of_settings_by_their_new_names(made):
    settings = RunFolder.open(made / "runs/sake").config
    assert settings["embedding_dim"] == 32
    assert settings["class_distillation"] == 0.5
    assert settings["augment"]["min_crop_area"] == 0.5
    labelfree = RunFolder.open(made / "runs/labelfree").config
    assert (labelfree["confident_fraction"], labelfree["assignment_temperature"]) == (0.4, 0.1)
    dino = RunFolder.open(made / "runs/dino").config
    assert (dino["freeze_prototypes"], dino["n_local_crops"]) == (1, 2)


def test_an_encoder_and_a_text_side_are_loaded(made):
    encoder = load_encoder(f"run:{made / 'runs/sake'}")
    image = torch.rand(2, 3, 32, 32)
    assert encoder(image, torch.tensor([Domain.SKETCH, Domain.PHOTO])).shape == (2, 32)
    retriever = Retriever.load(made / "runs/multimodal").index(made / "photos")
    assert len(list(retriever.search(sketch=made / "query.png", text="a ring", k=3))) == 3


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        ("sake", "code=64", "'code' is now 'embedding_dim'"),
        ("labelfree", "trust=0.4", "'trust' is now 'confident_fraction'"),
        ("ucdir", "clusters=2", "'clusters' is now 'cluster_weight'"),
        ("simclr", "augment.crop=0.5", "'augment.crop' is now 'augment.min_crop_area'"),
    ],
)
def test_an_old_setting_is_refused_with_its_new_name(made, recipe, setting, message):
    command = "finetune" if recipe == "sake" else "pretrain"
    result = run(command, recipe, "--data", made / "photos", "--out", made / "new", "--set", setting)
    assert result.returncode == 2
    assert message in result.stderr


def test_an_old_configuration_file_is_refused_with_the_new_names(made):
    file = made / "runs/sake/config.yaml"
    result = run("finetune", "sake", "--data", made / "photos", "--out", made / "new", "--config", file)
    assert result.returncode == 2
    assert " is now " in result.stderr
    assert str(file) in result.stderr


@pytest.mark.parametrize(("old", "new"), [("--each", "--per-kind"), ("--draws", "--random-maps")])
def test_an_old_option_is_refused_with_its_new_name(old, new):
    result = run("explain", "efficientnet_lite0", "--data", "folder:.", old, "3")
    assert result.returncode == 2
    assert f"'{old}' is now '{new}'" in result.stderr


def test_an_old_option_means_nothing_to_another_command():
    result = run("search", "index", "--each", "3")
    assert result.returncode == 2
    assert " is now " not in result.stderr
