"""What holds for every recipe that ties photos to sketches: labels never matter, crashes leave no trace."""

import pytest
import torch
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.objectives.teacher_distillation import update_ema
from ssl_sbir.training.pipeline import TrainingRequest, train
from ssl_sbir.training.recipe_checks import check_single_process

TINY = (*TINY_ENCODER, "embedding_dim=32", "teacher_size=32",
        "batch.sketches=16", "batch.photos=16", "checkpoint_steps=2", "optim.max_steps=6")  # fmt: skip
OWN = {
    "coclr": ("queue_size=16", "projection_dim=16", "mining_start=0.3", "neighbours=2"),
    "ucdir": ("num_clusters=6",),
    "crossmodal": (),
    "labelfree": ("num_clusters=6", "sketch_contrast=0.5", "optim.epochs=3"),
}


def order(recipe, data, out, **more):
    return TrainingRequest(recipe, f"folder:{data}", out, settings=(*TINY, *OWN[recipe]), **more)


def weights(run):
    return run.encoder().state_dict()


def equal(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("recipe", OWN)
def test_a_run_broken_off_and_resumed_without_labels_equals_a_whole_one_with_them(
    shapes, tmp_path, monkeypatch, recipe
):
    whole = train(order(recipe, shapes, tmp_path / "whole"), "pretraining", str)
    kind = recipes.load_recipe(recipe)
    step = kind.after_step

    def crash(self, model, progress):
        step(self, model, progress)
        if progress > 0.7:
            raise KeyboardInterrupt

    monkeypatch.setattr("ssl_sbir.training.pipeline.open_data", lambda spec: open_data(spec).without_labels())
    with monkeypatch.context() as patch:
        patch.setattr(kind, "after_step", crash)
        with pytest.raises(KeyboardInterrupt):
            train(order(recipe, shapes, tmp_path / "broken"), "pretraining", str)
    again = train(order(recipe, shapes, tmp_path / "broken", resume=True), "pretraining", str)
    assert equal(weights(whole), weights(again))
    assert whole.read_metrics()[-1].keys() == again.read_metrics()[-1].keys()


@pytest.mark.parametrize(("recipe", "domain"), [("crossmodal", "photo"), ("coclr", "photo"), ("ucdir", "photo"),
                                                ("ucdir", "sketch")])  # fmt: skip
def test_one_domain_is_enough(shapes, tmp_path, recipe, domain):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / domain).symlink_to(shapes / domain)
    run = train(order(recipe, tmp_path / "data", tmp_path / "run"), "pretraining", str)
    assert all(torch.isfinite(value).all() for value in weights(run).values())


@pytest.mark.parametrize("recipe", ["crossmodal", "coclr"])
def test_without_photos_the_recipes_that_then_apply_are_named(shapes, tmp_path, recipe):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sketch").symlink_to(shapes / "sketch")
    with pytest.raises(DataError, match="no photos") as error:
        train(order(recipe, tmp_path / "data", tmp_path / "run"), "pretraining", str)
    assert "ucdir" in error.value.hint


def test_memories_of_keys_refuse_a_second_process(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with pytest.raises(ConfigError, match="2 were started"):
        check_single_process("ucdir")


def test_a_slow_copy_follows_weights_and_statistics():
    slow, fast = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    fast.weight.data.fill_(3)
    fast.running_mean.fill_(10)
    fast.num_batches_tracked.fill_(7)
    update_ema(slow, fast, 0.9)
    torch.testing.assert_close(slow.weight.data, torch.full((2,), 1.2))
    torch.testing.assert_close(slow.running_mean, torch.full((2,), 1.0))
    assert slow.num_batches_tracked == 7
