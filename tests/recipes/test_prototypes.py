"""Prototypes 2 to 4: their losses re-derived slowly, and a gallery's labels that are read and caught."""

import json

import pytest
import torch
import torch.nn.functional as F

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.evaluation.evaluate_run import EvaluationSettings, evaluate_run
from ssl_sbir.training.pipeline import TrainingRequest, train

SEEN = ("bar", "circle", "ring")


@pytest.fixture
def words(tmp_path):
    rows = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).tolist()
    text = "\n".join(" ".join([n, *map(str, row)]) for n, row in zip(SEEN, rows, strict=True))
    (tmp_path / "words.txt").write_text(text)
    return f"vectors:{tmp_path / 'words.txt'}"


@pytest.mark.parametrize("name", ["prototype2", "prototype3", "prototype4"])
@torch.no_grad()
def test_the_loss_is_what_a_slow_loop_says(shapes, words, name):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)
    kind = recipes.load_recipe(name)
    recipe = kind(kind.Config(text_encoder=words, margin=0.5))
    model = recipe.build(
        load_encoder("timm:test_efficientnet", size=32, pretrained=False).eval(), data.classes
    )
    recipe.prepare(model, data)
    torch.manual_seed(0)
    classes = ([0, 1, 2, 0], [0, 1, 2, 0], [1, 2, 0, 2])
    sides = [(torch.randn(4, model.encoder.width), torch.tensor(label)) for label in classes]
    terms = recipe.loss_terms(model.tower, *sides)
    fusion = model.tower.fusion

    def code(layer, image, label):
        image, text = (F.normalize(v, dim=0) * len(v) ** 0.5 for v in (image, recipe.name_vectors[label]))
        return F.normalize(layer(torch.cat([image, text])), dim=0)

    near = image = same = 0.0
    for i in range(4):
        (s, y), (p, _), (n, other) = ((features[i], label[i]) for features, label in sides)
        query, plus, minus = code(fusion.query, s, y), code(fusion.photo, p, y), code(fusion.photo, n, other)
        disguised = code(fusion.photo, n, y)
        near += max(0.0, float(query @ minus - query @ plus) + 0.5) / 4
        same += max(0.0, float(query @ disguised - query @ plus) + 0.5) / 4
        for vector, alone in ((query, s), (plus, p), (minus, n)):
            image += float((vector - F.normalize(alone, dim=0)).square().sum()) / 4
    expected = {"triplet": near, "image": image, "homogeneous": same}
    assert list(terms) == list(expected)[: int(name[-1]) - 1]
    for term, value in terms.items():
        assert value.item() == pytest.approx(expected[term], rel=1e-4)


def test_photos_and_texts_of_the_right_classes_are_drawn(shapes, words):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)
    kind = recipes.load_recipe("prototype2")
    recipe = kind(kind.Config(text_encoder=words))
    model = recipe.build(
        load_encoder("timm:test_efficientnet", size=32, pretrained=False).eval(), data.classes
    )
    recipe.prepare(model, data)
    seen = {}
    recipe.loss_terms = lambda tower, *sides: seen.update(sides=sides) or {}
    recipe.loss(model, data.read_batch(data.rows[Domain.SKETCH][::3]).to("cpu"))
    sketch, positive, negative = (label for _, label in seen["sides"])
    assert torch.equal(sketch, positive)
    assert (sketch != negative).all()


def test_prototype2_reads_the_gallerys_labels_follows_a_wrong_text_and_is_caught(sketchy_mini, tmp_path):
    seen = (
        "bear",
        "cat",
        "cow",
        "dog",
        "duck",
        "giraffe",
        "owl",
        "apple",
        "banana",
        "car_(sedan)",
        "table",
        "shoe",
    )
    unseen = ("camel", "swan", "pineapple")
    for domain in ("sketch", "photo"):
        (tmp_path / "data" / domain).mkdir(parents=True)
        for folder in (*seen, *unseen):
            (tmp_path / "data" / domain / folder).symlink_to(sketchy_mini / domain / folder)
    (tmp_path / "few.json").write_text(json.dumps({"name": "few", "seen": seen, "unseen": unseen}))
    data = f"folder:{tmp_path / 'data'}"
    settings = ("encoder.size=32", "optim.epochs=20", "batch.sketches=100")
    order = TrainingRequest(
        "prototype2", data, tmp_path / "run", str(tmp_path / "few.json"), settings=settings
    )
    run = train(order, "finetuning", str)
    assert run.read_metrics()[-1]["triplet"] < 0.1  # of a margin of .3
    result, page = evaluate_run(
        str(run.path), data, settings=EvaluationSettings(protocols=["standard"], cache=True)
    )
    facts = result.facts
    assert facts["protocols"]["standard"]["mAP@all"] > facts["frozen"]["standard"]["mAP@all"] + 0.2
    assert "LEAK" in facts["verdict"]
    assert "TEXT DECIDES" in facts["verdict"]
    audit = facts["audits"]["text dominance"]
    assert (
        audit["found"]["conflict, text's class"]["mean"]
        > audit["found"]["conflict, drawing's class"]["mean"] + 0.2
    )
    assert "Drawing and text" in page.read_text()
    centred, _ = evaluate_run(
        str(run.path), data, settings=EvaluationSettings(protocols=["standard"], centre="train")
    )
    assert "--centre" in centred.facts["skipped"]["the audit of the text"]
    assert "text dominance" not in centred.facts["audits"]
