"""Doodle2Search and prototype 1: the loss re-derived slowly, the ramp in both units, and what they learn."""

import json
import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.class_sampling import ImagesByClass
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import TwoTowerEncoder, load_encoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder
from ssl_sbir.recipes.finetuning.doodle2search import init_embedding_heads
from ssl_sbir.semantics.similarity_source import AS_IT_IS, Resolution
from ssl_sbir.semantics.vector_source import VectorSemantics
from ssl_sbir.training.pipeline import TrainingRequest, train

TINY = (*TINY_ENCODER, "batch.sketches=8",
        "embedding_dim=16", "optim.max_steps=3")  # fmt: skip
SEEN = ("bar", "circle", "ring")


class Words(VectorSemantics):
    """Word vectors for tests; `triangle` is no word."""

    spec = "words"
    width = 12

    def resolve_name(self, name):
        return None if name == "triangle" else Resolution(name, AS_IT_IS, (sum(map(ord, name)),))

    def unit_vectors(self, keys):
        rows = [torch.randn(12, generator=torch.Generator().manual_seed(seed)) for (seed,) in keys]
        return torch.stack(rows)


@pytest.fixture(autouse=True)
def _words(monkeypatch):
    monkeypatch.setattr("ssl_sbir.objectives.semantic_losses.load_semantics", lambda spec: Words())


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)


def made(data, name="doodle2search", **settings):
    kind = recipes.load_recipe(name)
    still = {"flip": 0, "rotation": 0, "shift": 0, "zoom": 0}
    recipe = kind(kind.Config(augment=still, embedding_dim=16, **settings))
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    model = recipe.build(encoder, data.classes)
    recipe.prepare(model, data)
    return recipe, model


def test_the_loss_is_the_published_one(data, monkeypatch):
    recipe, model = made(data, margin=5.0)
    model.eval()
    batch = data.read_batch(data.rows[Domain.SKETCH][[0, 13, 30, 5]]).to("cpu")
    other = (batch.label + 1) % 3
    drawn = recipe.photos.sample_images(torch.cat([batch.label, other])).to("cpu")
    monkeypatch.setattr(recipe, "_sample_photos", lambda model, label: drawn)
    terms = recipe.loss(model, batch)
    code = model.encoder(torch.cat([batch.image, drawn.image]), torch.cat([batch.domain, drawn.domain]))
    words = [F.normalize(Words().name_vectors([name]), dim=1)[0] for name in data.classes]
    near = meaning = 0.0
    for i in range(4):
        s, p, n = code[i], code[4 + i], code[8 + i]
        near += max(0.0, (s - p).norm().item() - (s - n).norm().item() + 5.0) / 4
        for z in (s, p, n):
            told, word = model.semantic_head(z), words[batch.label[i]]
            meaning += 0.5 * (1 - (told @ word / (told.norm() * word.norm())).item()) / 4
    domain = 0.0
    for i in range(12):
        chance = torch.sigmoid(model.discriminator(code[i])).item()
        domain -= math.log(chance if i >= 4 else 1 - chance) / 12
    assert terms["triplet"].item() == pytest.approx(near, rel=1e-4)
    assert terms["semantic"].item() == pytest.approx(meaning, rel=1e-4)
    assert terms["domain"].item() == pytest.approx(domain, rel=1e-4)


def test_negatives_are_of_another_class_and_positives_of_the_same(data):
    recipe, model = made(data)
    label = torch.arange(3).repeat(20)
    photos = recipe._sample_photos(model, label)
    assert (photos.domain == Domain.PHOTO).all()
    assert torch.equal(photos.label[:60], label)
    assert (photos.label[60:] != label).all()
    assert len(set(photos.row.tolist())) > 20


@pytest.mark.parametrize(("unit", "expected"), [("epoch", [0, 0.5, 2.0]), ("batch", [0, 2, 0])])
def test_the_ramp_counts_epochs_as_in_the_paper_or_batches_as_in_the_code(data, unit, expected):
    recipe, _ = made(data, ramp_unit=unit, batch={"sketches": 9, "photos": 0}, optim={"epochs": 4})
    assert (recipe.steps_per_epoch, recipe.steps) == (4, 16)
    for step, position in zip((0, 2, 8), expected, strict=True):
        recipe.progress = step / 16
        assert recipe.ramp_position == position


@pytest.mark.parametrize("mining", ["random", "semi-hard", "hard"])
def test_every_mining_gives_a_finite_loss_and_gradient(data, mining):
    recipe, model = made(data, mining=mining, distance="cosine", margin=0.2)
    terms = recipe.loss(model, data.read_batch(data.rows[Domain.SKETCH][::4]).to("cpu"))
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.encoder.parameters() if p.grad is not None)


def test_labelled_sketches_stand_in_for_unlabelled_ones(data):
    few = LabelBudget("1-per-class").apply_to(data)
    recipe, model = made(few)
    batch = few.read_batch(few.rows[Domain.SKETCH][:9]).to("cpu")
    anchors = recipe._anchor_batch(batch)
    assert len(anchors.row) == 9
    assert (anchors.label >= 0).all()
    assert recipe.loss(model, batch)["triplet"] >= 0
    with pytest.raises(DataError, match="class 'bar' has no labelled photo"):
        ImagesByClass.from_training_set(LabelBudget("50%", "sketch").apply_to(data), Domain.PHOTO)


@pytest.mark.parametrize("name", ["doodle2search", "prototype1"])
@pytest.mark.parametrize("separate", [True, False])
def test_the_code_starts_on_the_principal_axes_about_the_mean(data, name, separate):
    kind = recipes.load_recipe(name)
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    other = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    recipe = kind(kind.Config(embedding_dim=4, semantics=None))
    model = recipe.build(TwoTowerEncoder(encoder, other) if separate else encoder, data.classes)
    recipe.prepare(model, data)
    codes = [embed_rows(model.encoder, data.pack, data.manifest, data.rows[of], cache=False) for of in Domain]
    means = torch.stack([code.mean(0) for code in codes])
    if separate:
        assert means.abs().max() < 1e-4
    else:
        assert torch.cat(codes).mean(0).abs().max() < 1e-4
        assert means.abs().max() > 1e-3
    apart = torch.cat([code - mean for code, mean in zip(codes, means, strict=True)])
    spread = apart.T @ apart
    assert (spread - spread.diag().diag()).abs().max() < 1e-3 * spread.max()
    assert (spread.diag().diff() <= 0).all()


def test_a_code_may_have_more_numbers_than_there_are_images(data):
    few = TrainingSet(
        data.manifest, data.pack, {of: rows[::8] for of, rows in data.rows.items()}, data.classes
    )
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    kind = recipes.load_recipe("doodle2search")
    model = kind(kind.Config(embedding_dim=64, semantics=None)).build(encoder, data.classes)
    init_embedding_heads(model.encoder, few)
    used = model.encoder.linear.weight.abs().sum(1) > 0
    assert 0 < used.sum() <= sum(map(len, few.rows.values()))


def test_without_semantics_there_is_no_semantic_term(data):
    recipe, model = made(data, semantics=None)
    terms = recipe.loss(model, data.read_batch(data.rows[Domain.SKETCH][::9]).to("cpu"))
    assert set(terms) == {"triplet", "domain"}
    assert model.negative_probabilities.tolist() == (0.5 * (1 - torch.eye(3))).tolist()


def test_a_class_that_has_no_word_is_refused_or_left_without_meaning(data, shapes):
    manifest = open_data(f"folder:{shapes}")
    wider = TrainingSet.from_manifest(
        manifest, prepare_pack(manifest, 32), (*SEEN, "triangle"), labelled=True
    )
    with pytest.raises(ConfigError, match="semantics = 'glove' doesn't know the class 'triangle'"):
        made(wider)
    recipe, model = made(wider, unknown_classes="neutral")
    terms = recipe.loss(model, wider.read_batch(wider.rows[Domain.SKETCH][::4]).to("cpu"))
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("name", ["doodle2search", "prototype1"])
def test_classes_of_one_image_train_and_a_class_without_photo_is_named(shapes, tmp_path, name):
    for domain in ("sketch", "photo"):
        for folder in (shapes / domain).iterdir():
            (tmp_path / "one" / domain / folder.name).mkdir(parents=True)
            shutil.copy(folder / "00.png", tmp_path / "one" / domain / folder.name)
    settings = (*TINY, "batch.sketches=3", "unknown_classes=neutral")
    run = train(
        TrainingRequest(name, f"folder:{tmp_path / 'one'}", tmp_path / "run", settings=settings),
        "finetuning",
        str,
    )
    assert isinstance(run.encoder(), TwoTowerEncoder)
    seen = run.provenance["split"]["seen"][0]
    shutil.rmtree(tmp_path / "one/photo" / seen)
    with pytest.raises(DataError, match=f"class '{seen}' .* has no readable photo"):
        train(
            TrainingRequest(name, f"folder:{tmp_path / 'one'}", tmp_path / "b", settings=settings),
            "finetuning",
            str,
        )


def test_the_published_settings_are_a_preset():
    kind = recipes.load_recipe("doodle2search")
    config = kind.Config(**recipes.load_preset("doodle2search-published", "doodle2search"))
    assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("sgd", 1e-4, 5e-4)
    assert (
        config.embedding_dim,
        config.margin,
        config.ramp_start,
        config.ramp_end,
        config.negative_temperature,
    ) == (
        256,
        1,
        5,
        25,
        0.1,
    )


@pytest.mark.parametrize(("name", "epochs"), [("doodle2search", 5), ("prototype1", 4)])
def test_training_beats_the_frozen_encoder_on_real_sketches(sketchy_mini, tmp_path, name, epochs):
    """On the classes it was taught: so few classes and steps teach little beyond them."""
    published = Split.load("sketchy-sake-25")
    few = Split("few", published.seen[:6], published.unseen[:2])
    for domain in ("sketch", "photo"):
        (tmp_path / "data" / domain).mkdir(parents=True)
        for folder in {*few.seen, *few.unseen}:
            (tmp_path / "data" / domain / folder).symlink_to(sketchy_mini / domain / folder)
    (tmp_path / "few.json").write_text(json.dumps({"name": "few", "seen": few.seen, "unseen": few.unseen}))
    data = f"folder:{tmp_path / 'data'}"
    settings = ("encoder.size=40", "batch.sketches=16", f"optim.epochs={epochs}", "encoder.towers=shared", "embedding_dim=64",
                "optim.lr=1e-3", "attention=false")  # fmt: skip
    run = train(
        TrainingRequest(name, data, tmp_path / "run", str(tmp_path / "few.json"), settings=settings),
        "finetuning",
        str,
    )
    assert run.read_metrics()[-1]["triplet"] < 0.8  # of a margin of 1
    taught = Split("taught", few.unseen, few.seen)
    encoders = run.encoder(), load_encoder("efficientnet_lite0", size=40)
    results = [
        evaluate_encoder(e, open_data(data), taught, protocols=["standard"], draws=10) for e in encoders
    ]
    trained, before = (result.facts["protocols"]["standard"]["mAP@all"] for result in results)
    assert trained > before + 0.1
