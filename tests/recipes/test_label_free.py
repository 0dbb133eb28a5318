"""Every pretraining recipe learns the same, to the last bit, from a folder that has no labels to read."""

import shutil

import numpy as np
import pytest
import torch
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.training.pipeline import TrainingRequest, train

NAMES = [name for name in recipes.recipe_names() if recipes.load_recipe(name).stage == "pretraining"]
TINY = (*TINY_ENCODER, "batch.sketches=8",
        "batch.photos=8", "optim.max_steps=2", "optim.epochs=2")  # fmt: skip

NARROW = {
    "projection_dim": 16,
    "hidden_dim": 16,
    "bottleneck_dim": 16,
    "prototypes": 16,
    "embedding_dim": 16,
    "n_local_crops": 0,
}
QUICK = {"teacher_size": 64}


def tiny(name):
    """Settings of a small run: whatever widths the recipe has are narrow."""
    fields = recipes.load_recipe(name).Config.model_fields
    return (*TINY, *(f"{key}={value}" for key, value in (NARROW | QUICK).items() if key in fields))


@pytest.fixture(scope="module")
def unlabelled(shapes, tmp_path_factory):
    """The same images in the same order, without their folders' names."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for domain in ("sketch", "photo"):
        (folder / domain).mkdir()
        for number, file in enumerate(sorted((shapes / domain).rglob("*.png"))):
            shutil.copy(file, folder / domain / f"{number:03}.png")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_labels_make_no_difference(name, shapes, unlabelled, tmp_path):
    weights = []
    for number, data in enumerate((shapes, unlabelled)):
        out = tmp_path / str(number)
        run = train(TrainingRequest(name, f"folder:{data}", out, settings=tiny(name)), "pretraining", str)
        weights.append((run.path / "model/model.safetensors").read_bytes())
        assert not run.provenance["labels_used"]
    assert weights[0] == weights[1]


OWN = ["barlow", "byol", "dcl", "dino", "moco", "nnclr", "simclr", "simsiam", "swav", "vicreg"]


@pytest.mark.parametrize("name", OWN)
def test_one_domain_alone_and_unequal_amounts_are_enough(name, shapes):
    manifest = open_data(f"folder:{shapes}")
    photos, sketches = manifest.find_rows(domain=Domain.PHOTO), manifest.find_rows(domain=Domain.SKETCH)
    for rows in (photos, sketches, np.concatenate([sketches[:20], photos])):
        part = manifest.select_rows(np.sort(rows))
        data = TrainingSet.from_manifest(part, prepare_pack(part, 32), None, labelled=False)
        schedule = BatchSchedule.from_training_set(data, 2, 8, 0)
        kind = recipes.load_recipe(name)
        narrow = {key: value for key, value in NARROW.items() if key in kind.Config.model_fields}
        recipe = kind(kind.Config(**narrow, batch={"sketches": 2, "photos": 8}))
        model = recipe.build(load_encoder("timm:test_efficientnet", size=32, pretrained=False), ()).train()
        recipe.prepare(model, data)
        (term,) = recipe.loss(model, data.read_batch(schedule.rows_of_step(0)).to("cpu")).values()
        term.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        assert sum(p.grad.abs().sum() for p in model.encoder.parameters() if p.grad is not None) > 0
