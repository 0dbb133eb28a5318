"""What a recipe can't learn from is refused before it trains, and named."""

import pytest

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder, to_two_towers
from ssl_sbir.errors import ConfigError, DataError

SEEN = ("bar", "circle", "cross", "ring", "square")


def prepared(shapes, name, words, budget, **settings):
    manifest = open_data(f"folder:{shapes}")
    data = budget.apply_to(
        TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)
    )
    kind = recipes.load_recipe(name)
    texts = {"text_encoder": words} if "text_encoder" in kind.Config.model_fields else {"semantics": words}
    recipe = kind(kind.Config(**texts, **settings))
    model = recipe.build(load_encoder("timm:test_efficientnet", size=32, pretrained=False), data.classes)
    recipe.prepare(model, data)


@pytest.mark.parametrize("name", ["multimodal", "prototype2", "prototype4"])
@pytest.mark.parametrize(("labelled", "missing"), [("sketch", "photo"), ("photo", "sketch")])
def test_labels_of_one_domain_alone(shapes, words, name, labelled, missing):
    with pytest.raises(DataError, match=f"has no labelled {missing}"):
        prepared(shapes, name, words, LabelBudget(domains=labelled))


@pytest.mark.parametrize("name", ["multimodal", "prototype2"])
def test_a_class_whose_photos_have_no_label(shapes, tmp_path, words, name):
    wanted = open_data(f"folder:{shapes}").keys
    last = sorted(wanted, key=lambda key: ("photo/ring" in key, key[-6:]))
    (tmp_path / "order.txt").write_text("\n".join(last))
    with pytest.raises(DataError, match="class 'ring' has no labelled photo"):
        prepared(shapes, name, words, LabelBudget("80%", order=str(tmp_path / "order.txt")))


@pytest.mark.parametrize("name", ["prototype1", "prototype2", "doodle2search"])
def test_one_class_alone_has_no_negatives(shapes, words, name):
    with pytest.raises(DataError, match="one seen class"):
        prepared(shapes, name, words, LabelBudget(classes="ring"))


def test_an_average_of_weights_that_texts_were_not_mapped_to(shapes, words):
    with pytest.raises(ConfigError, match=r"optim\.ema"):
        prepared(shapes, "multimodal", words, LabelBudget(), optim={"ema": 0.9})


@pytest.mark.parametrize("name", ["crossmodal", "selflabel", "labelfree", "coclr"])
def test_batches_without_photos(shapes, name):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    kind = recipes.load_recipe(name)
    recipe = kind(kind.Config(batch={"photos": 0}, teacher_size=32))
    encoder = to_two_towers(load_encoder("timm:test_efficientnet", size=32, pretrained=False))
    model = recipe.build(encoder, ())
    with pytest.raises(ConfigError, match=r"batch\.photos = 0"):
        recipe.prepare(model, data)
