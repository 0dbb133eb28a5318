"""Settings under the names that version 0.1.0 gave them: refused in a request, read in a run."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from tiny_for_tests import TINY_ENCODER

from ssl_sbir.config import flatten_settings
from ssl_sbir.errors import ConfigError, RunError
from ssl_sbir.model_card import write_card
from ssl_sbir.renamed_settings import find_renamed_keys, renamed_settings, translate_settings
from ssl_sbir.run import RunFolder
from ssl_sbir.training.pipeline import train
from ssl_sbir.training.recipe_catalog import recipe_names, recipe_settings
from ssl_sbir.training.training_request import TrainingRequest, resolve_settings

# As version 0.1.0 wrote it.
OLD_SIMCLR = """seed: 0
encoder:
  name: 'timm:test_efficientnet'
  size: 32
  fit: ink
  pretrained: false
  towers: shared
batch: {sketches: 8, photos: 8, pairs: false}
augment:
  backend: kornia
  flip: 0.5
  rotation: 15.0
  shift: 0.08
  zoom: 0.25
  perspective: 0.2
  crop: 0.3
  colour: 0.8
  grey: 0.2
  blur: 0.3
  wobble: 0.0
  ink: 0.0
  gaps: 0.0
  erase: 0.0
optim: {name: adamw, lr: 0.0012, lr_batch: 256, weight_decay: 0.0001, schedule: cosine, warmup: 0.1, epochs: 10.0,
  max_steps: 2, clip: 5.0, accumulate: 1, freeze: 0, layer_decay: 1.0, ema: 0.0}
monitor:
  steps: 100
  images: 128
  least_rank: 2.0
  least_spread: 0.02
  seen: false
precision: auto
compile: false
checkpoint_steps: 100
own_sketch: false
temperature: 0.1
projection: 128
"""
TINY = (*TINY_ENCODER, "batch.sketches=8", "batch.photos=8", "optim.max_steps=2")


def requested(shapes, out, **more):
    return TrainingRequest("simclr", f"folder:{shapes}", Path(out), settings=TINY, **more)


@pytest.fixture(scope="module")
def old_run(shapes, tmp_path_factory):
    """A finished run with the settings file of version 0.1.0."""
    run = train(requested(shapes, tmp_path_factory.mktemp("old") / "run"), "pretraining", str)
    assert translate_settings("simclr", yaml.safe_load(OLD_SIMCLR)) == run.config
    (run.path / "config.yaml").write_text(OLD_SIMCLR)
    return run.path


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_old_key_is_gone_and_every_new_one_is_there(recipe):
    keys = {key for key, _ in flatten_settings(recipe_settings(recipe)().model_dump())}
    table = renamed_settings(recipe)
    assert len(table) >= 9
    assert set(table.values()) <= keys
    assert not set(table) & keys


def test_keys_are_renamed_where_they_are_and_values_kept():
    old = {"augment": {"crop": 0.5, "flip": 0.1}, "clusters": 7, "crop": 1, "distances": 2}
    assert translate_settings("ucdir", old) == {
        "augment": {"min_crop_area": 0.5, "flip": 0.1},
        "cluster_weight": 7,
        "crop": 1,
        "distance_weight": 2,
    }
    assert translate_settings("selflabel", {"clusters": 7}) == {"num_clusters": 7}
    assert translate_settings("mine", {"clusters": 7}) == {"clusters": 7}
    assert find_renamed_keys("ucdir", {"augment": {"crop": 0.5}, "optim": {"ink": 1}}) == {
        "augment.crop": "augment.min_crop_area"
    }


def message_of(request):
    with pytest.raises(ConfigError) as caught:
        resolve_settings(request, "pretraining")
    return caught.value.message, caught.value.hint


def test_a_request_with_an_old_key_is_told_the_new_one(tmp_path, monkeypatch):
    plain = TrainingRequest("selflabel", "folder:x", tmp_path / "run")
    message, hint = message_of(replace(plain, settings=["trust=0.5"]))
    assert message == "'trust' is now 'confident_fraction'"
    assert hint == "It comes from --set. All keys: ssl-sbir recipes show selflabel"
    file = tmp_path / "mine.yaml"
    file.write_text("augment: {crop: 0.5}\n")
    message, hint = message_of(replace(plain, config_file=file))
    assert message == "'augment.crop' is now 'augment.min_crop_area'"
    assert hint.startswith(f"It comes from {file}.")
    monkeypatch.setattr("ssl_sbir.training.training_request.load_preset", lambda *_: {"clusters": 5})
    message, hint = message_of(replace(plain, preset="small"))
    assert message == "'clusters' is now 'num_clusters'"
    assert hint.startswith("It comes from preset small.")


def test_a_run_of_0_1_0_opens_and_another_starts_from_it(shapes, old_run, tmp_path):
    run = RunFolder.open(old_run)
    assert run.config["augment"]["min_crop_area"] == 0.3
    assert run.config["projection_dim"] == 128
    image, domain = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    assert run.encoder()(image, domain).shape == (2, run.encoder().width)
    following = train(requested(shapes, tmp_path / "next", start=old_run), "pretraining", str)
    assert following.provenance["from"] == str(old_run)
    assert following.provenance["start"] == run.provenance["start"]


def test_a_run_of_0_1_0_is_not_resumed(shapes, old_run, tmp_path):
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for name in ("config.yaml", "provenance.json"):
        (unfinished / name).write_text((old_run / name).read_text())
    with pytest.raises(RunError, match="'own_sketch' is now 'pseudo_sketch_view'") as caught:
        train(requested(shapes, unfinished, resume=True), "pretraining", str)
    assert "'augment.crop' is now 'augment.min_crop_area'" in caught.value.message
    assert "--overwrite" in caught.value.hint


def test_a_card_of_0_1_0_names_no_temperature_as_a_teacher(old_run, tmp_path):
    run = RunFolder(Path(shutil.copytree(old_run, tmp_path / "run")))
    (run.path / "config.yaml").write_text("teacher: 0.04\n")
    for recipe in ("dino", "untrained"):
        run.add_provenance(recipe=recipe)
        write_card(run, run.encoder())
        assert "teacher" not in (run.path / "model/README.md").read_text()


def test_settings_and_requests_are_resolved_without_torch():
    code = """
import sys
from pathlib import Path
import ssl_sbir.augment.settings, ssl_sbir.renamed_settings, ssl_sbir.run
from ssl_sbir.training.settings import RecipeConfig
from ssl_sbir.training.training_request import TrainingRequest, resolve_settings
request = TrainingRequest("simclr", "folder:x", Path("run"), labels=None, settings=["seed=3"])
assert resolve_settings(request, "pretraining")[0].seed == 3
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
