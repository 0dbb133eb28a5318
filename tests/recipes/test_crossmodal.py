"""Photo against its own drawing: learns on real photos, uses known pairs, keeps what ImageNet taught."""

import math

import pytest
import torch
from subset_for_tests import subset

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.training.pipeline import TrainingRequest, train


def test_the_loss_falls_clearly_below_chance_and_drawings_find_their_photos(sketchy_mini, tmp_path):
    data = subset(sketchy_mini, tmp_path / "data", ("airplane", "apple", "bell", "cup"), ("photo",))
    settings = ("encoder.size=48", "teacher_size=48", "batch.photos=20", "batch.sketches=0", "optim.epochs=12",
                "optim.lr=1e-3")  # fmt: skip
    run = train(TrainingRequest("crossmodal", data, tmp_path / "run", settings=settings), "pretraining", str)
    assert run.read_metrics()[-1]["contrast"] < 0.6 * math.log(20)
    manifest = open_data(data)
    drawings = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 48), None, labelled=False)
    kind = recipes.load_recipe("crossmodal")
    recipe = kind(kind.Config(teacher_size=48))
    trained, frozen = run.encoder(), load_encoder("efficientnet_lite0", size=48).eval()
    recipe.prepare(recipe.build(load_encoder("efficientnet_lite0", size=48), ()), drawings)
    torch.manual_seed(0)
    photos = drawings.read_batch(drawings.rows[Domain.PHOTO]).to("cpu")
    pages = recipe.pseudo_sketcher(photos)

    def found(encoder):
        with torch.no_grad():
            query = encoder(pages, torch.zeros(len(pages), dtype=torch.int64))
            gallery = encoder(photos.image, photos.domain)
        cosine = (
            torch.nn.functional.normalize(query - query.mean(0))
            @ torch.nn.functional.normalize(gallery - gallery.mean(0)).T
        )
        return (cosine.argmax(1) == torch.arange(len(pages))).float().mean().item()

    assert found(trained) > found(frozen) + 0.15


@pytest.fixture
def made(sketchy_mini, tmp_path):
    data = subset(sketchy_mini, tmp_path / "data", ("bear", "cup"))
    (tmp_path / "data/pairs.csv").symlink_to(sketchy_mini / "pairs.csv")
    manifest = open_data(data)
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 48), None, labelled=False)
    kind = recipes.load_recipe("crossmodal")
    recipe = kind(kind.Config(teacher_size=48, embedding_dim=32, batch={"pairs": True}))
    model = recipe.build(load_encoder("efficientnet_lite0", size=48), ())
    recipe.prepare(model, data)
    return recipe, model, data


def test_known_pairs_are_a_term_of_their_own(made):
    recipe, model, data = made
    batch = data.read_batch(BatchSchedule.from_training_set(data, 8, 40, 0, pairs=True).rows_of_step(0)).to(
        "cpu"
    )
    sketch, own = recipe._matched_pairs(batch)
    instance = data.manifest.instance
    assert len(sketch) >= 4
    for s, p in zip(sketch.tolist(), own.tolist(), strict=True):
        assert batch.domain[s] == Domain.SKETCH
        assert batch.domain[p] == Domain.PHOTO
        assert instance[batch.row[s]] == instance[batch.row[p]]
    assert set(recipe.loss(model.train(), batch)) == {"contrast", "distillation", "pairs"}
