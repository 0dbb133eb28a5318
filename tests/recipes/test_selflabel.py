"""Self-labelling: photos' clusters become classes, sketches are shared out, and unseen drawings are found better."""

import json
import math

import pytest
import torch
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, load_encoder
from ssl_sbir.errors import DataError
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder
from ssl_sbir.training.pipeline import TrainingRequest, train

SMALL = (
    *TINY_ENCODER,
    "teacher_size=32",
    "batch.sketches=16",
    "batch.photos=16",
    "num_clusters=6",
    "embedding_dim=32",
)


@pytest.fixture
def made(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    kind = recipes.load_recipe("selflabel")
    recipe = kind(
        kind.Config(
            teacher_size=32,
            num_clusters=6,
            embedding_dim=32,
            confident_fraction=0.5,
            confident_fraction_end=0.5,
        )
    )
    model = recipe.build(load_encoder("efficientnet_lite0", size=32), ())
    recipe.prepare(model, data)
    return recipe, model, data


def test_every_photo_has_a_class_and_the_trusted_half_of_sketches_at_once(made):
    recipe, model, data = made
    photos = len(data.rows[Domain.PHOTO])
    assert model.pseudo_label[:photos].min() >= 0
    assert len(model.pseudo_label[:photos].unique()) == 6
    assert (model.pseudo_label[photos:] == -1).all()
    recipe.before_epoch(model, data, 0)
    given = model.pseudo_label[photos:].clone()
    assert (given >= 0).sum() == len(given) // 2
    assert given.max() < 6


def test_later_the_encoder_has_its_say(made):
    recipe, model, data = made
    photos = len(data.rows[Domain.PHOTO])
    recipe.before_epoch(model, data, 0)
    first = model.pseudo_label[photos:].clone()
    model.last_embeddings.copy_(
        torch.randn(model.last_embeddings.shape, generator=torch.Generator().manual_seed(0))
    )
    recipe.progress = 0.5
    recipe.before_epoch(model, data, 1)
    assert not torch.equal(model.pseudo_label[photos:], first)
    recipe.config = recipe.config.model_copy(update={"self_weight": 0.0, "label_spreading": 0.0})
    recipe.before_epoch(model, data, 1)
    alone = model.pseudo_label[photos:].clone()
    model.last_embeddings.zero_()
    recipe.before_epoch(model, data, 1)
    assert torch.equal(model.pseudo_label[photos:], alone)


def test_the_confident_fraction_grows_with_progress(made):
    recipe, model, data = made
    photos, sketches = (len(data.rows[domain]) for domain in (Domain.PHOTO, Domain.SKETCH))
    recipe.config = recipe.config.model_copy(
        update={"confident_fraction": 0.25, "confident_fraction_end": 0.75}
    )
    for progress, fraction in ((0.0, 0.25), (0.5, 0.5), (1.0, 0.75)):
        recipe.progress = progress
        recipe.before_epoch(model, data, 0)
        assert (model.pseudo_label[photos:] >= 0).sum() == round(fraction * sketches)


def test_terms_use_each_image_as_they_say(made):
    recipe, model, data = made
    rows = torch.cat([torch.from_numpy(data.rows[d][:6]) for d in Domain])
    batch = data.read_batch(rows.numpy()).to("cpu")
    model.train()
    terms = recipe.loss(model, batch)
    assert terms["sketch_classes"] == 0
    assert terms["class_distillation"] == 0
    assert terms["photo_classes"] > 0.5 * math.log(6)
    places = recipe.image_index[rows]
    assert (model.last_embeddings[places].abs().sum(1) > 0).all()
    model.pseudo_label[places[:6]] = 2
    terms = recipe.loss(model, batch)
    assert terms["sketch_classes"] > 0.5 * math.log(6)
    assert terms["class_distillation"] > 0


def test_it_trains_without_sketches(shapes, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/photo").symlink_to(shapes / "photo")
    run = train(
        TrainingRequest(
            "selflabel",
            f"folder:{tmp_path / 'data'}",
            tmp_path / "run",
            settings=(*SMALL, "optim.max_steps=3"),
        ),
        "pretraining",
        str,
    )
    encoder = run.encoder()
    assert isinstance(encoder, DomainCentredEncoder)
    assert encoder.watched.all()  # drawings of the photos stand in for sketches
    assert not torch.equal(*encoder.domain_means)


def test_a_run_is_gone_on_with_in_the_form_it_has(shapes, tmp_path):
    data, settings = f"folder:{shapes}", (*SMALL, "optim.max_steps=1")
    first = train(
        TrainingRequest("selflabel", data, tmp_path / "first", settings=settings), "pretraining", str
    )
    order = TrainingRequest("selflabel", data, tmp_path / "second", start=first.path, settings=settings)
    assert train(order, "pretraining", str).encoder().spec == first.encoder().spec


def test_too_few_photos_are_refused(shapes, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sketch").symlink_to(shapes / "sketch")
    with pytest.raises(DataError, match="photos"):
        train(
            TrainingRequest("selflabel", f"folder:{tmp_path / 'data'}", tmp_path / "run", settings=SMALL),
            "pretraining",
            str,
        )


def test_an_interrupted_run_goes_on_with_the_same_labels(shapes, tmp_path, monkeypatch):
    settings = (*SMALL, "optim.epochs=3", "checkpoint_steps=2", "optim.max_steps=9")

    def order(out, **more):
        return TrainingRequest("selflabel", f"folder:{shapes}", tmp_path / out, settings=settings, **more)

    whole = train(order("whole"), "pretraining", str).encoder().state_dict()
    with monkeypatch.context() as patch:

        def crash(recipe, model, progress):
            if progress > 0.7:
                raise KeyboardInterrupt

        patch.setattr(recipes.load_recipe("selflabel"), "after_step", crash)
        with pytest.raises(KeyboardInterrupt):
            train(order("broken"), "pretraining", str)
    again = train(order("broken", resume=True), "pretraining", str).encoder().state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_labels_never_matter(shapes, tmp_path, monkeypatch):
    def weights(out):
        order = TrainingRequest(
            "selflabel", f"folder:{shapes}", tmp_path / out, settings=(*SMALL, "optim.max_steps=6")
        )
        return train(order, "pretraining", str).encoder().state_dict()

    named = weights("named")
    monkeypatch.setattr("ssl_sbir.training.pipeline.open_data", lambda spec: open_data(spec).without_labels())
    stripped = weights("stripped")
    assert all(torch.equal(named[name], stripped[name]) for name in named)


def test_sketches_find_photos_better_than_before(sketchy_mini, tmp_path):
    """On the pretraining images themselves, six classes of them, whose names it never saw."""
    published = Split.load("sketchy-sake-25")
    few = Split("few", published.seen[:6], published.unseen[:2])
    for domain in ("sketch", "photo"):
        (tmp_path / "data" / domain).mkdir(parents=True)
        for name in (*few.seen, *few.unseen):
            (tmp_path / "data" / domain / name).symlink_to(sketchy_mini / domain / name)
    (tmp_path / "few.json").write_text(json.dumps({"name": "few", "seen": few.seen, "unseen": few.unseen}))
    data = f"folder:{tmp_path / 'data'}"
    settings = ("encoder.size=40", "teacher_size=80", "batch.sketches=24", "batch.photos=12", "num_clusters=12",
                "optim.epochs=4", "optim.lr=1e-3")  # fmt: skip
    run = train(
        TrainingRequest("selflabel", data, tmp_path / "run", str(tmp_path / "few.json"), settings=settings),
        "pretraining",
        str,
    )
    pictured = Split("pictured", few.unseen, few.seen)
    encoders = run.encoder(), load_encoder("efficientnet_lite0", size=40)
    found = [
        evaluate_encoder(e, open_data(data), pictured, protocols=["standard"], draws=10) for e in encoders
    ]
    trained, before = (result.facts["protocols"]["standard"]["mAP@all"] for result in found)
    assert trained > before + 0.05
