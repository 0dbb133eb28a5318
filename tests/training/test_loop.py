"""The loop on a tiny network: equal seeds, resumed runs, averages, and refusals."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.augment.torchvision_views import ThreadedAugment
from ssl_sbir.errors import RunError
from ssl_sbir.run import RunFolder, list_checkpoints
from ssl_sbir.seeding import repeatable_kernels
from ssl_sbir.training.pipeline import TrainingRequest, train

TINY = (*TINY_ENCODER, "batch.sketches=8", "batch.photos=8", "projection_dim=16", "checkpoint_steps=3")


def request(shapes, out, *settings, **more):
    return TrainingRequest("simclr", f"folder:{shapes}", Path(out), settings=(*TINY, *settings), **more)


def weights(out):
    return load_file(Path(out) / "model" / "model.safetensors")


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def silent(_):
    pass


def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(shapes, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(request(shapes, tmp_path / name, f"seed={seed}", "optim.max_steps=4"), "pretraining", silent)
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_a_gpu_computes_in_one_order_while_a_run_trains_and_is_then_left_as_it_was():
    def flags():
        return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic

    before = flags()
    with repeatable_kernels("cuda"):  # sets flags, which needs no GPU
        assert flags() == (True, True)
    assert flags() == before
    with repeatable_kernels("cpu"):
        assert flags() == before


def test_pixels_keep_32_bit_up_to_the_network(shapes, tmp_path, monkeypatch, caplog):
    recipe, seen = recipes.load_recipe("simclr"), []
    loss = recipe.loss
    monkeypatch.setattr(
        recipe, "loss", lambda self, *call: seen.append(call[1].image.dtype) or loss(self, *call)
    )
    train(request(shapes, tmp_path / "a", "optim.max_steps=2", "precision=bf16-mixed"), "pretraining", silent)
    assert seen == [torch.float32] * 2
    assert not caplog.records  # Fabric logs its precision, which the summary names


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("optim.name=sgd",),
        ("optim.ema=0.9", "optim.accumulate=2"),
        ("augment.backend=torchvision", "augment.stroke_width=0.5", "optim.accumulate=2"),
    ],
)
def test_a_run_broken_off_and_resumed_equals_an_unbroken_one(shapes, tmp_path, settings, monkeypatch):
    settings = ("optim.epochs=2", "optim.max_steps=8", *settings)
    train(request(shapes, tmp_path / "whole", *settings), "pretraining", silent)

    class Crash(Exception):
        pass

    def crash_at_step_5(self, model, progress):
        if progress == 5 / 8:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("ssl_sbir.recipes.pretraining.simclr.Simclr.after_step", crash_at_step_5)
        with pytest.raises(Crash):
            train(request(shapes, tmp_path / "broken", *settings), "pretraining", silent)
    assert [p.name for p in list_checkpoints(tmp_path / "broken/checkpoints")] == ["step-000003"]
    assert not RunFolder.open(tmp_path / "broken").is_finished
    train(request(shapes, tmp_path / "broken", *settings, resume=True), "pretraining", silent)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


HANGS_IN_STEP_11 = """
import sys, time
from pathlib import Path
from ssl_sbir.cli._app import main
from ssl_sbir.recipes.pretraining.simclr import Simclr

def hang_at_step_11(self, model, progress):
    if progress == 11 / 12:
        Path(sys.argv[1]).touch()
        time.sleep(600)

Simclr.after_step = hang_at_step_11
main(sys.argv[2:])
"""


def test_a_run_killed_outright_is_resumed_bit_for_bit(shapes, tmp_path):
    settings, marker = ("optim.max_steps=12", "monitor.steps=0"), tmp_path / "hangs"
    train(request(shapes, tmp_path / "whole", *settings), "pretraining", silent)
    sets = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    command = [sys.executable, "-c", HANGS_IN_STEP_11, str(marker), "pretrain", "simclr",
               "--data", f"folder:{shapes}", "--out", str(tmp_path / "killed"), *sets]  # fmt: skip
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: sums depend on their order
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=one_thread)
    deadline = time.monotonic() + 300
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    hanging = process.poll() is None
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert marker.exists(), errors
    assert hanging, errors
    killed = RunFolder.open(tmp_path / "killed")
    assert not killed.is_finished
    assert list_checkpoints(killed.path / "checkpoints")[-1].name == "step-000009"
    assert [line["step"] for line in killed.read_metrics()] == [10]  # logged after the last checkpoint
    train(request(shapes, tmp_path / "killed", *settings, resume=True), "pretraining", silent)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert [line["step"] for line in killed.read_metrics()] == [10, 12]


def test_torchvisions_views_are_made_ahead_of_the_step(shapes, tmp_path, monkeypatch):
    made, sample = [], ThreadedAugment.sample_views
    monkeypatch.setattr(
        ThreadedAugment,
        "sample_views",
        lambda self, *call: made.append(threading.current_thread().name) or sample(self, *call),
    )
    settings = ("optim.max_steps=6", "augment.backend=torchvision", "monitor.steps=0")
    train(request(shapes, tmp_path / "a", *settings), "pretraining", silent)
    assert len(made) == 12  # two views of each batch
    assert sum(name == "MainThread" for name in made) <= 4  # until it was known how many a step takes
    train(request(shapes, tmp_path / "b", "optim.max_steps=6"), "pretraining", silent)
    assert len(made) == 12
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_an_average_differs_from_the_weights_it_averages(shapes, tmp_path):
    for name, decay in (("plain", 0), ("mean", 0.5)):
        train(
            request(shapes, tmp_path / name, f"optim.ema={decay}", "optim.max_steps=3"), "pretraining", silent
        )
    assert not equal(weights(tmp_path / "plain"), weights(tmp_path / "mean"))


def test_only_the_newest_checkpoints_are_kept(shapes, tmp_path):
    train(request(shapes, tmp_path / "run", "optim.max_steps=9", "optim.epochs=9"), "pretraining", silent)
    assert [p.name for p in list_checkpoints(tmp_path / "run/checkpoints")] == ["step-000006", "step-000009"]


def test_checkpoints_are_ordered_by_their_step_however_many_digits_it_has(tmp_path):
    for step in (999_900, 1_000_000, 1_000_100):
        (tmp_path / f"step-{step:06d}").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-999900",
        "step-1000000",
        "step-1000100",
    ]


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "cut"])
def test_a_checkpoint_that_does_not_fit_is_named(shapes, tmp_path, change):
    out = tmp_path / "run"
    train(request(shapes, out, "optim.max_steps=3"), "pretraining", silent)
    (out / "model/model.safetensors").unlink()
    file = out / "checkpoints/step-000003/model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        tensors["extra"] = torch.zeros(1)
    elif change == "shape":
        tensors[name] = torch.zeros(3, 5, 7)
    save_file(tensors, file)
    if change == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"step-000003/model\.safetensors"):
        train(request(shapes, out, "optim.max_steps=3", resume=True), "pretraining", silent)


def test_a_loss_that_is_no_number_stops_the_run(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ssl_sbir.recipes.pretraining.simclr.Simclr.loss",
        lambda self, model, batch: {"contrast": model(batch.image, batch.domain).sum() * float("nan")},
    )
    with pytest.raises(RunError, match="'contrast' is nan at step"):
        train(
            request(shapes, tmp_path / "run", "optim.max_steps=10", "optim.epochs=10"), "pretraining", silent
        )


def test_weights_that_are_no_numbers_are_not_saved(shapes, tmp_path, monkeypatch):
    def loss(self, model, batch):
        feature = model(batch.image, batch.domain)
        return {"contrast": (feature - feature.detach()).abs().sum().sqrt()}  # 0, and its slope is infinite

    monkeypatch.setattr("ssl_sbir.recipes.pretraining.simclr.Simclr.loss", loss)
    with pytest.raises(RunError, match=r"is not finite at step 1") as caught:
        few = ("optim.max_steps=9", "optim.clip=0", "checkpoint_steps=1")
        train(request(shapes, tmp_path / "run", *few), "pretraining", silent)
    assert "--overwrite" in caught.value.hint
    assert not list_checkpoints(tmp_path / "run/checkpoints")


def test_a_run_can_t_start_from_itself(shapes, tmp_path):
    out = tmp_path / "run"
    train(request(shapes, out, "optim.max_steps=2"), "pretraining", silent)
    with pytest.raises(RunError, match="from itself"):
        train(request(shapes, out, "optim.max_steps=2", start=out, overwrite=True), "pretraining", silent)
    assert RunFolder.open(out).is_finished
    assert len(RunFolder.open(out).trained_images())


def test_resuming_after_images_recipe_or_start_changed_is_refused(shapes, tmp_path):
    data, mine = tmp_path / "data", tmp_path / "mine.py"
    shutil.copytree(shapes, data)
    whole = (data / "photo/bar/00.png").read_bytes()
    (data / "photo/bar/00.png").write_bytes(whole[:40])
    shutil.copy(Path(recipes.__file__).parent / "pretraining/simclr.py", mine)
    mine.write_text(mine.read_text().replace('"simclr"', '"mine"'))
    train(request(shapes, tmp_path / "start", "optim.max_steps=2"), "pretraining", silent)
    first = replace(
        request(data, tmp_path / "run", "optim.max_steps=2"), recipe=str(mine), start=tmp_path / "start"
    )
    train(first, "pretraining", silent)
    (tmp_path / "run/model/model.safetensors").unlink()
    again = replace(first, resume=True)
    for file, changed, part in (
        (data / "photo/bar/00.png", whole, "set of readable images"),
        (mine, mine.read_bytes() + b"# changed\n", "file of recipe"),
        (tmp_path / "start/model/model.safetensors", None, "file of --from"),
    ):
        was = file.read_bytes()
        if changed is None:
            state = load_file(file)
            save_file(
                {key: value + 1 if value.is_floating_point() else value for key, value in state.items()},
                file,
                _metadata(file),
            )
        else:
            file.write_bytes(changed)
        with pytest.raises(RunError, match=f"another {part}"):
            train(again, "pretraining", silent)
        file.write_bytes(was)
    assert train(again, "pretraining", silent).is_finished


def _metadata(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_resuming_with_other_settings_or_a_finished_run_is_refused(shapes, tmp_path):
    out = tmp_path / "run"
    train(request(shapes, out, "optim.max_steps=3"), "pretraining", silent)
    with pytest.raises(RunError, match="finished"):
        train(request(shapes, out, "optim.max_steps=3", resume=True), "pretraining", silent)
    (out / "model/model.safetensors").unlink()
    with pytest.raises(RunError, match="other settings"):
        train(request(shapes, out, "optim.max_steps=4", resume=True), "pretraining", silent)
    (tmp_path / "few.json").write_text('{"seen": ["circle", "bar", "ring"], "unseen": ["cross"]}')
    few = str(tmp_path / "few.json")
    with pytest.raises(RunError, match="another split"):
        train(request(shapes, out, "optim.max_steps=3", resume=True, split=few), "pretraining", silent)


def test_an_epoch_is_told_when_its_first_batch_comes_also_where_batches_make_one_step(
    shapes, tmp_path, monkeypatch
):
    recipe, epochs = recipes.load_recipe("simclr"), []
    monkeypatch.setattr(
        recipe, "before_epoch", lambda self, model, data, epoch: epochs.append((len(steps), epoch))
    )
    steps, loss = [], recipe.loss
    monkeypatch.setattr(recipe, "loss", lambda self, *call: steps.append(1) or loss(self, *call))
    # 72 images of a domain in batches of 8: nine an epoch; steps of four batches begin epochs at 0, 12, 20 and 28.
    settings = ("optim.accumulate=4", "optim.max_steps=8")
    train(request(shapes, tmp_path / "a", *settings), "pretraining", silent)
    assert epochs == [(0, 0), (12, 1), (20, 2), (28, 3)]
