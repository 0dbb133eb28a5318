"""UCDIR: its memory, its clusters, the course of its terms, and that it learns on real photos and sketches."""

import math

import pytest
import torch
import torch.nn.functional as F
from subset_for_tests import mean_average_precision, subset

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.training.pipeline import TrainingRequest, train


@pytest.fixture
def made(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    kind = recipes.load_recipe("ucdir")
    recipe = kind(kind.Config(teacher_size=32, num_clusters=5, embedding_dim=16, confidence_threshold=0))
    model = recipe.build(load_encoder("timm:test_efficientnet", size=32, pretrained=False), ())
    recipe.prepare(model, data)
    recipe.before_epoch(model, data, 0)
    return recipe, model.train(), data


def test_memory_holds_a_unit_key_of_every_image_and_prototypes_are_its_clusters_means(made):
    recipe, model, _data = made
    torch.testing.assert_close(model.memory_bank.norm(dim=1), torch.ones(144))
    for domain, part in recipe.domain_slices.items():
        for group in range(5):
            members = model.memory_bank[part][model.cluster[part] == group]
            torch.testing.assert_close(model.prototypes[domain, group], F.normalize(members.mean(0), dim=0))


def test_a_batch_renews_its_own_keys_only(made):
    recipe, model, data = made
    before = model.memory_bank.clone()
    rows = BatchSchedule.from_training_set(data, 6, 4, 0).rows_of_step(0)
    recipe.loss(model, data.read_batch(rows).to("cpu"))
    changed = (model.memory_bank != before).any(1).nonzero()[:, 0]
    assert changed.tolist() == sorted(recipe.image_index[torch.from_numpy(rows)].tolist())


def test_terms_come_in_at_their_share_of_the_run(made):
    recipe, model, data = made
    batch = data.read_batch(BatchSchedule.from_training_set(data, 8, 8, 0).rows_of_step(0)).to("cpu")
    weights = []
    for progress in (0.05, 0.3, 0.6):
        recipe.progress = progress
        torch.manual_seed(0)
        terms = recipe.loss(model, batch)
        weights.append([terms[name].item() for name in ("instances", "clusters", "entropy", "distances")])
    assert weights[0][1:] == [0, 0, 0]
    assert weights[1][1] == pytest.approx(weights[2][1] / 2, rel=0.2)
    assert weights[1][2:] == [0, 0]
    assert all(value > 0 for value in weights[2])


def test_it_learns_on_real_photos_and_sketches(sketchy_mini, tmp_path):
    data = subset(sketchy_mini, tmp_path / "data", ("airplane", "apple", "bell", "cup"))
    settings = ("encoder.size=32", "teacher_size=32", "batch.photos=20", "batch.sketches=20", "num_clusters=8",
                "all_terms_start=0.7", "augment.min_crop_area=0.7", "optim.epochs=12", "optim.lr=2e-3",
                "momentum=0.9")  # fmt: skip
    run = train(TrainingRequest("ucdir", data, tmp_path / "run", settings=settings), "pretraining", str)
    assert run.read_metrics()[-1]["instances"] < 0.8 * math.log(100)
    before = mean_average_precision(load_encoder("efficientnet_lite0", size=32, fit="ink"), data, 32)
    assert mean_average_precision(run.encoder(), data, 32) > before + 0.04
