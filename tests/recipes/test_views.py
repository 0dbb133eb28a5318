"""Every method that compares views: it learns, its views find each other, and a broken-off run goes on as it was."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.seeding import seed_everything
from ssl_sbir.training.pipeline import TrainingRequest, train

SMALL = (
    *TINY_ENCODER,
    "projection_dim=64",
)
MILD = tuple(
    f"augment.{name}"
    for name in ("min_crop_area=1", "color_jitter=0.3", "grayscale=0", "blur=0", "perspective=0", "rotation=10", "zoom=0.1",
                 "shift=0.04", "flip=0")
)  # fmt: skip
QUICK = ("optim.name=adamw", "optim.lr_batch=0", "optim.lr=3e-3", "batch.sketches=24", "batch.photos=24")
WIDTHS = {"byol": ("hidden_dim=128",), "simsiam": ("hidden_dim=32",), "swav": ("prototypes=32",),
          "dino": ("hidden_dim=64", "bottleneck_dim=64", "prototypes=64", "n_local_crops=0", "freeze_prototypes=0", "momentum=0.9",
                   "center_momentum=0.5")}  # fmt: skip
LONGER = {"dino": ("optim.epochs=20",)}
# What the loss is where nothing has been learnt, and the share of it that training must leave at most.
CHANCE = {
    "simclr": (math.log(2 * 24 - 1), 0.5),
    "dcl": (math.log(2 * 24 - 2), 0.0),
    "moco": (math.log(1 + 36), 0.75),
    "barlow": (1.0, 0.3),
    "vicreg": (25.0, 0.7),
    "swav": (math.log(32), 0.8),
    "dino": (math.log(64), 0.97),
    "nnclr": (math.log(2 * 24 - 1), 0.8),
}
AGREEMENT = {"byol": -0.5, "simsiam": -0.7}  # minus a cosine: 0 for views that have nothing in common


def settings(name, *more):
    # The drawn shapes differ by place and size, which the fit `ink` takes away.
    own = tuple(s for s in SMALL if name != "dino" or not s.startswith("projection"))
    return ("encoder.fit=squash", *own, *MILD, *QUICK, *WIDTHS.get(name, ()), *more)


def pretrained(name, shapes, out, *more, resume=False):
    order = TrainingRequest(name, f"folder:{shapes}", out, settings=settings(name, *more), resume=resume)
    return train(order, "pretraining", str)


def term(metrics):
    (name,) = metrics.keys() - {"step", "epoch", "lr", "images_per_s", "data_wait", "monitor"}
    return metrics[name]


def found(query, gallery, recipe, data):
    """Mean reciprocal rank of an image's other view among the views of all images of its domain."""
    ranks = []
    for domain in Domain:
        batch = data.read_batch(data.rows[domain]).to("cpu")
        for seed in range(8):
            torch.manual_seed(seed)
            with torch.no_grad():
                one, other = (
                    seen_by(recipe.augment(batch.image, batch.domain), batch.domain)
                    for seen_by in (query, gallery)
                )
            cosine = F.normalize(one - one.mean(0)) @ F.normalize(other - other.mean(0)).T
            ranks.append(1 + (cosine > cosine.diagonal()[:, None]).sum(1))
    return (1 / torch.cat(ranks)).mean().item()


@pytest.mark.parametrize("name", [*CHANCE, *AGREEMENT])
def test_training_lowers_the_loss_and_lets_views_find_each_other(name, shapes, tmp_path):
    """The views to find are of the recipe's own augmentation, harder than those of this short training."""
    run = pretrained(
        name, shapes, tmp_path / "run", *LONGER.get(name, ("optim.epochs=15",)), "checkpoint_steps=1000"
    )
    bound = AGREEMENT[name] if name in AGREEMENT else CHANCE[name][0] * CHANCE[name][1]
    last = [term(metrics) for metrics in run.read_metrics()[-3:]]
    assert sum(last) / len(last) < bound
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    kind = recipes.load_recipe(name)
    recipe = kind(kind.Config(**{key: run.config[key] for key in run.config if key != "augment"}))
    seed_everything(0)
    model = recipe.build(load_encoder("timm:test_efficientnet", size=32, pretrained=False), ()).eval()
    recipe.prepare(model, data)
    # SimSiam's encoder needs longer than a test to get better than its start; what it trains is its prediction.
    sees = (
        [model.encoder] * 2
        if name != "simsiam"
        else [lambda *view: model.prediction_head(model(*view)), model]
    )
    before = found(*sees, recipe, data)
    (checkpoint,) = (run.path / "checkpoints").glob("step-*")
    model.load_state_dict(load_file(checkpoint / "model.safetensors"))
    after = found(*sees, recipe, data)
    assert after > before + 0.01, (before, after)


@pytest.mark.parametrize("name", ["moco", "byol", "swav", "dino", "nnclr"])
def test_queues_twins_and_centres_survive_a_crash(name, shapes, tmp_path, monkeypatch):
    few = ("batch.sketches=8", "batch.photos=8", "optim.max_steps=6", "checkpoint_steps=3")
    whole = pretrained(name, shapes, tmp_path / "whole", *few)

    class Crash(Exception):
        pass

    kind = recipes.load_recipe(name)
    taught = kind.after_step

    def crash_at_step_5(self, model, progress):
        if progress == 5 / 6:
            raise Crash
        taught(self, model, progress)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "after_step", crash_at_step_5)
        with pytest.raises(Crash):
            pretrained(name, shapes, tmp_path / "broken", *few)
    broken = pretrained(name, shapes, tmp_path / "broken", *few, resume=True)
    states = [load_file(run.path / "checkpoints/step-000006/model.safetensors") for run in (whole, broken)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(
        key.startswith(("momentum_encoder", "queue", "contrast_losses", "dino_losses")) for key in states[0]
    )


def test_swavs_queue_joins_in_once_it_is_full(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    kind = recipes.load_recipe("swav")
    recipe = kind(kind.Config(queue_size=20, queue_start=0.5, prototypes=16, projection_dim=16))
    model = recipe.build(load_encoder("timm:test_efficientnet", size=32, pretrained=False), ())
    recipe.prepare(model, data)
    loss, joined = recipe.swav_loss, []

    def spied(views, small, queues):
        joined.append(queues is not None)
        return loss(views, small, queues)

    recipe.swav_loss = spied
    batch = data.read_batch(data.rows[Domain.SKETCH][:8]).to("cpu")
    for recipe.progress in (0.6, 0.7, 0.8, 0.4, 0.9):
        recipe.loss(model, batch)
    assert joined == [False, False, False, False, True]  # full after the third
