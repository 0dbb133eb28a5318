"""SAKE: its decomposition and loss re-derived slowly, and training that beats the frozen encoder on unseen classes."""

import json
import math

import pytest
import torch
from torch import nn

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import ProjectedEncoder, load_encoder
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.errors import ConfigError
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    teacher_classifier,
    with_embedding_head,
)
from ssl_sbir.semantics.similarity_source import AS_IT_IS, Resolution, Semantics
from ssl_sbir.training.optim import learning_rate
from ssl_sbir.training.pipeline import TrainingRequest, train


def test_the_two_factors_are_the_classifier_at_full_width_and_its_best_approximation_below():
    classifier = nn.Linear(12, 20)
    features = torch.randn(5, 12)
    code, recall = svd_factorize(classifier, 12)
    torch.testing.assert_close(recall(code(features)), classifier(features))
    u, s, vt = torch.linalg.svd(classifier.weight.detach(), full_matrices=False)
    best = sum(s[i] * torch.outer(u[:, i], vt[i]) for i in range(4))
    code, recall = svd_factorize(classifier, 4)
    torch.testing.assert_close(recall.weight @ code.weight, best)
    with pytest.raises(ConfigError, match="embedding_dim = 13 exceeds 12"):
        svd_factorize(classifier, 13)


def test_a_code_is_put_on_features_of_any_width_and_never_twice():
    plain = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    code = nn.Linear(plain.width, 8, bias=False)
    once = with_embedding_head(plain, code)
    assert once.linear is code
    assert with_embedding_head(once, code) is once
    assert with_embedding_head(once, nn.Linear(999, 4)).linear.in_features == 8


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), ("circle", "ring"), labelled=True)


def test_the_teacher_is_asked_once_and_found_by_row(data):
    teacher = load_encoder("efficientnet_lite0", size=32)
    answers = TeacherLogits.from_teacher(teacher, data)
    rows = torch.from_numpy(data.rows[Domain.PHOTO][[3, 0, 20]])
    batch = data.read_batch(rows.numpy()).to("cpu")
    with torch.no_grad():
        expected = teacher.classifier()(teacher(batch.image, batch.domain))
    torch.testing.assert_close(answers(rows), expected, atol=1e-3, rtol=1e-3)


def test_the_loss_is_the_published_one(data):
    kind = recipes.load_recipe("sake")
    still = {"flip": 0, "rotation": 0, "shift": 0, "zoom": 0}
    sake = kind(
        kind.Config(
            distillation=0.7, class_distillation=0.3, augment=still, encoder={"size": 32}, teacher_size=32
        )
    )
    model = sake.build(load_encoder("efficientnet_lite0", size=32), data.classes).eval()
    sake.prepare(model, data)
    rows = torch.cat([torch.from_numpy(data.rows[d][:3]) for d in Domain])
    batch = data.read_batch(rows.numpy()).to("cpu")
    terms = sake.loss(model, batch)
    seen = kept = kin = 0.0
    for i in range(6):
        code = model.encoder(batch.image[i : i + 1], batch.domain[i : i + 1])[0]
        logits = model.class_head(code)
        seen += (logits.exp().sum().log() - logits[batch.label[i]]).item() / 6
        recalled = model.teacher_head(code)
        log_recalled = recalled - recalled.exp().sum().log()
        if batch.domain[i] == Domain.PHOTO:
            teacher = torch.softmax(sake.teacher_logits(rows[i : i + 1])[0], 0)
            kept -= (teacher * log_recalled).sum().item() / 3
        else:
            photos = [r for r in data.rows[Domain.PHOTO] if data.labels[r] == batch.label[i]]
            answers = [torch.softmax(sake.teacher_logits(torch.tensor([r]))[0], 0) for r in photos]
            kin -= ((sum(answers) / len(answers)) * log_recalled).sum().item() / 3
    assert terms["seen_classes"].item() == pytest.approx(seen, rel=1e-4)
    assert terms["distillation"].item() == pytest.approx(0.7 * kept, rel=1e-4)
    assert terms["class_distillation"].item() == pytest.approx(0.3 * kin, rel=1e-4)


IMAGENET = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{i}" for i in range(1000)]


class Letters(Semantics):
    """A source for tests: names are similar by the letters they share; it doesn't know `bar`."""

    spec = "letters"

    def resolve_name(self, name):
        return None if name == "bar" else Resolution(name, AS_IT_IS, (0,))

    def compare_keys(self, rows, columns):
        raise NotImplementedError

    def similarity(self, a, b):
        return torch.tensor([[len(set(x) & set(y)) / len(set(x) | set(y)) for y in b] for x in a])


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.setattr("ssl_sbir.objectives.semantic_losses.load_semantics", lambda spec: Letters())
    monkeypatch.setattr("ssl_sbir.objectives.semantic_losses.imagenet_names", lambda: IMAGENET)


@pytest.mark.parametrize("views", [False, True])
def test_semantics_tilt_the_teacher_as_published(data, letters, views):
    kind = recipes.load_recipe("sake")
    still = {"flip": 0, "rotation": 0, "shift": 0, "zoom": 0}
    sake = kind(
        kind.Config(
            semantics="letters",
            similarity_weight=0.6,
            teacher_logit_scale=0.8,
            distillation=0.7,
            teacher_views=views,
            augment=still,
            encoder={"size": 32},
            teacher_size=32,
        )
    )
    model = sake.build(load_encoder("efficientnet_lite0", size=32), data.classes).eval()
    sake.prepare(model, data)
    rows = torch.from_numpy(data.rows[Domain.PHOTO][[0, 12, 13]])
    batch = data.read_batch(rows.numpy()).to("cpu")
    batch.label[2] = -1
    teacher = load_encoder("efficientnet_lite0", size=32)
    slow = 0.0
    for i in range(3):
        image = batch.image[i : i + 1], batch.domain[i : i + 1]
        t = 0.8 * teacher.classifier()(teacher(*image))[0]
        if batch.label[i] >= 0 or not views:  # asked beforehand, a photo's label is the data set's
            own = data.classes[data.labels[rows[i]]]
            t = t + 0.6 * Letters().similarity([own], IMAGENET)[0]
        target = t.softmax(0)
        recalled = model.teacher_head(model.encoder(*image))[0]
        slow -= (target * (recalled - recalled.exp().sum().log())).sum().item() / 3
    found = sake.loss(model, batch)["distillation"].item()
    assert found == pytest.approx(0.7 * slow, rel=1e-3)
    assert not any(p.requires_grad for p in sake.teacher.parameters())


def test_a_class_that_semantics_does_not_know_is_refused_or_left_alone(letters):
    kind, encoder = recipes.load_recipe("sake"), load_encoder("efficientnet_lite0", size=32)
    with pytest.raises(ConfigError, match="semantics = 'letters' doesn't know the class 'bar'"):
        kind(kind.Config(semantics="letters")).build(encoder, ("circle", "bar"))
    neutral = kind(kind.Config(semantics="letters", unknown_classes="neutral"))
    neutral.build(encoder, ("circle", "bar"))
    assert neutral.similarity[1].abs().sum() == 0
    with pytest.raises(ConfigError, match="with tilt=calibrated"):
        kind(kind.Config(semantics="letters", tilt="calibrated", similarity_weight=1.5)).build(
            encoder, ("circle",)
        )


def test_a_term_that_no_image_takes_part_in_is_zero(data):
    kind = recipes.load_recipe("sake")
    sake = kind(kind.Config(encoder={"size": 32}, teacher_size=32))
    model = sake.build(load_encoder("efficientnet_lite0", size=32), data.classes)
    sake.prepare(model, data)
    for domain, absent in ((Domain.SKETCH, "distillation"), (Domain.PHOTO, "class_distillation")):
        terms = sake.loss(model, data.read_batch(data.rows[domain][:4]).to("cpu"))
        assert terms[absent] == 0
        assert all(term.isfinite() for term in terms.values())
    batch = data.read_batch(data.rows[Domain.PHOTO][:4]).to("cpu")
    batch.label[:] = -1
    assert sake.loss(model, batch)["seen_classes"] == 0


def test_the_published_settings_are_a_preset(letters, shapes, tmp_path):
    kind = recipes.load_recipe("sake")
    config = kind.Config(**recipes.load_preset("sake-published", "sake"))
    assert (config.optim.name, config.optim.lr, config.optim.weight_decay) == ("adam", 1e-4, 5e-4)
    assert (
        config.batch.sketches,
        config.batch.photos,
        config.class_distillation,
        config.similarity_weight,
    ) == (13, 26, 0, 0.3)
    assert learning_rate(config.optim, 50, 100) == pytest.approx(1e-4 * 0.001**0.5)
    settings = ("encoder.name=efficientnet_lite0_conditional", "teacher=efficientnet_lite0", "semantics=letters",
                "unknown_classes=neutral", "encoder.size=32", "optim.max_steps=3")  # fmt: skip
    order = TrainingRequest(
        "sake", f"folder:{shapes}", tmp_path / "run", preset="sake-published", settings=settings
    )
    run = train(order, "finetuning", str)
    assert run.read_metrics()[-1]["class_distillation"] == 0
    columns = [
        value for name, value in run.encoder().named_parameters() if name.endswith((".scale", ".shift"))
    ]
    assert any(column.abs().max() > 0 for column in columns)


def test_an_encoder_without_a_classifier_cannot_teach():
    untaught = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    with pytest.raises(ConfigError, match="teacher = 'mine' has no classifier"):
        teacher_classifier(untaught, "mine")


def test_training_brings_the_loss_far_below_chance(shapes, tmp_path):
    few = Split("few", ("circle", "square", "triangle", "cross", "bar"), ("ring",))
    (tmp_path / "few.json").write_text(json.dumps({"name": "few", "seen": few.seen, "unseen": few.unseen}))
    data = f"folder:{shapes}"
    settings = (
        "encoder.size=32",
        "teacher_size=32",
        "batch.sketches=12",
        "batch.photos=12",
        "optim.epochs=5",
    )
    run = train(
        TrainingRequest("sake", data, tmp_path / "run", str(tmp_path / "few.json"), settings=settings),
        "finetuning",
        str,
    )
    assert run.read_metrics()[-1]["seen_classes"] < 0.75 * math.log(5)
    assert isinstance(run.encoder(), ProjectedEncoder)


def test_training_beats_the_frozen_encoder_on_real_sketches(sketchy_mini, tmp_path):
    """On the classes it was taught: so few classes and steps teach little beyond them."""
    published = Split.load("sketchy-sake-25")
    few = Split("few", published.seen[:6], published.unseen[:2])
    for domain in ("sketch", "photo"):
        (tmp_path / "data" / domain).mkdir(parents=True)
        for folder in (sketchy_mini / domain).iterdir():
            if folder.name in {*few.seen, *few.unseen}:
                (tmp_path / "data" / domain / folder.name).symlink_to(folder)
    (tmp_path / "few.json").write_text(json.dumps({"name": "few", "seen": few.seen, "unseen": few.unseen}))
    data = f"folder:{tmp_path / 'data'}"
    settings = ("encoder.size=40", "teacher_size=64", "batch.sketches=16", "batch.photos=8", "optim.epochs=5")
    run = train(
        TrainingRequest("sake", data, tmp_path / "run", str(tmp_path / "few.json"), settings=settings),
        "finetuning",
        str,
    )
    taught = Split("taught", few.unseen, few.seen)
    encoders = run.encoder(), load_encoder("efficientnet_lite0", size=40)
    results = [
        evaluate_encoder(e, open_data(data), taught, protocols=["standard"], draws=10) for e in encoders
    ]
    trained, before = (result.facts["protocols"]["standard"]["mAP@all"] for result in results)
    assert trained > before + 0.15
