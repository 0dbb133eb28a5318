"""What the loop computes in a step, against slow twins: accumulated gradients, learning rates, averages, progress."""

import math

import pytest
import torch
from torch import nn

from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.run import RunFolder
from ssl_sbir.seeding import seed_everything
from ssl_sbir.training.loop import fit
from ssl_sbir.training.recipe import Recipe, RecipeConfig


class Model(nn.Module):
    """An encoder without batch norm, and a number that every step can move."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.number = nn.Parameter(torch.zeros(()))


class Regression(Recipe[RecipeConfig, Model]):
    """Features to targets that depend on the row alone, so that every image has its own term."""

    stage = "pretraining"
    name = "regression"

    def __init__(self, config):
        super().__init__(config)
        self.losses, self.progress_in_loss, self.progress_after = [], [], []
        self.weights, self.numbers = [], []

    def build(self, encoder, classes):
        return Model(encoder)

    def loss(self, model, batch):
        feature = model.encoder(batch.image, batch.domain)
        target = torch.sin(batch.row[:, None] * torch.arange(1.0, feature.shape[1] + 1))
        loss = (feature - target).square().mean()
        self.losses.append(loss.item())
        self.progress_in_loss.append(self.progress)
        return {"regression": loss, "number": model.number}

    def after_step(self, model, progress):
        self.progress_after.append(progress)
        self.weights.append({name: p.clone() for name, p in model.encoder.state_dict().items()})
        self.numbers.append(model.number.item())


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)


def trained(data, out, images=4, **optim):
    """The recipe after a run with so many images of each domain in a batch, and the exported weights."""
    settings = {"clip": 0, "weight_decay": 0, "warmup": 0, **optim}
    batch, monitor = {"sketches": images, "photos": images}, {"steps": 0}
    recipe = Regression(RecipeConfig(optim=settings, batch=batch, monitor=monitor, precision="32-true"))
    seed_everything(0)
    encoder = load_encoder("timm:test_vit", size=32, pretrained=False)
    exported = fit(recipe, encoder, data, lambda: RunFolder.create(out, "", {}))
    return recipe, exported.state_dict()


def distance(left, right):
    return max((left[name] - right[name]).abs().max().item() for name in left)


@pytest.mark.parametrize("clip", [0, 0.1])
def test_two_batches_of_8_accumulated_equal_one_of_16(data, tmp_path, clip):
    sgd = {"name": "sgd", "lr": 0.05, "max_steps": 3, "clip": clip}
    halves, from_halves = trained(data, tmp_path / "halves", images=4, accumulate=2, **sgd)
    whole, from_whole = trained(data, tmp_path / "whole", images=8, **sgd)
    pairs = zip(halves.losses[::2], halves.losses[1::2], strict=True)
    assert [sum(pair) / 2 for pair in pairs] == pytest.approx(whole.losses, rel=1e-5)
    assert distance(whole.weights[0], from_whole) > 1e-4
    assert distance(from_halves, from_whole) < 1e-6
    assert halves.numbers == pytest.approx(whole.numbers, rel=1e-5)
    logged = [RunFolder.open(tmp_path / name).read_metrics()[-1] for name in ("halves", "whole")]
    assert logged[0]["regression"] == pytest.approx(logged[1]["regression"], rel=1e-5)


SCHEDULES = {
    "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
    "exponential": lambda t: 0.001**t,
    "constant": lambda t: 1,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_step_has_the_rate_of_its_schedule(data, tmp_path, schedule):
    recipe, _ = trained(
        data, tmp_path / "run", name="adam", lr=0.1, schedule=schedule, warmup=0.3, max_steps=10
    )
    # Adam moves a number whose slope is always 1 by the learning rate.
    moved = [before - after for before, after in zip([0, *recipe.numbers], recipe.numbers, strict=False)]
    expected = [0.1 * (step + 1) / 3 for step in range(3)]
    expected += [0.1 * SCHEDULES[schedule](step / 7) for step in range(7)]
    assert moved == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(("accumulate", "factor"), [(1, 0.25), (2, 0.5)])
def test_a_rate_meant_for_a_batch_is_scaled_to_the_images_of_a_step(data, tmp_path, accumulate, factor):
    optim = {"name": "adam", "lr": 0.1, "lr_batch": 32, "schedule": "constant", "max_steps": 2}
    recipe, _ = trained(data, tmp_path / "run", accumulate=accumulate, **optim)
    assert recipe.numbers == pytest.approx([-0.1 * factor, -0.2 * factor], rel=1e-4)


def test_an_average_takes_the_weights_after_each_step(data, tmp_path):
    recipe, exported = trained(data, tmp_path / "run", name="sgd", lr=0.05, ema=0.75, max_steps=4)
    expected = recipe.weights[0]
    for weights in recipe.weights[1:]:
        expected = {name: 0.75 * expected[name] + 0.25 * weights[name] for name in weights}
    assert distance(expected, recipe.weights[-1]) > 1e-3
    assert distance(exported, expected) < 1e-6


def test_progress_counts_the_steps_before_a_loss_and_those_done_after_it(data, tmp_path):
    recipe, _ = trained(data, tmp_path / "run", accumulate=2, max_steps=4)
    assert recipe.progress_in_loss == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert recipe.progress_after == [0.25, 0.5, 0.75, 1]
