"""What can place texts in an encoder's space: its own text tower, or the words of its classifier."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision.models as zoo
import transformers
from optional_parts import needs_lite0
from timm.data.imagenet_info import _NUM_CLASSES_TO_SUBSET
from tokenizer_for_tests import tokenizer_into
from torch import nn

from ssl_sbir.encoders import (
    DomainConditionedEncoder,
    ProjectedEncoder,
    imagenet_vocabulary,
    load_encoder,
    load_exported,
    save_encoder,
)
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.text_word_average import WordVectorTextEncoder
from ssl_sbir.encoders.timm_models import timm_encoder
from ssl_sbir.encoders.word_vector_files import WordVectorTable
from ssl_sbir.errors import EncoderError

PHOTO = torch.tensor([1])
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
IMAGE = {"image_size": 32, "patch_size": 8}
WORDS = {
    **SMALL,
    "vocab_size": 8,
    "max_position_embeddings": 10,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
LABELS = {0: "owl, night bird", 1: "bus", 2: "tree"}


def image() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def unlike_any_start(model: nn.Module) -> nn.Module:
    """The model with noise on every weight: biases that start at 0 and norms that start at 1 then matter."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) / 5)
    return model.eval()


def clip_into(folder: Path) -> nn.Module:
    config = transformers.CLIPConfig(text_config=WORDS, vision_config={**SMALL, **IMAGE}, projection_dim=20)
    model = unlike_any_start(transformers.CLIPModel(config))
    model.save_pretrained(folder)
    tokenizer_into(folder, 10)
    return model


def siglip_into(folder: Path) -> nn.Module:
    words = {**WORDS, "hidden_size": 16, "projection_size": 32}
    config = transformers.SiglipConfig(text_config=words, vision_config={**SMALL, **IMAGE})
    model = unlike_any_start(transformers.SiglipModel(config))
    model.save_pretrained(folder)
    tokenizer_into(folder, 10, mark="▁")
    return model


def classifier_into(folder: Path, kind: str, labels: dict[int, str]) -> nn.Module:
    config = {
        "ViT": lambda: transformers.ViTConfig(**SMALL, **IMAGE),
        "ResNet": lambda: transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 32], depths=[1, 1]),
        "Swin": lambda: transformers.SwinConfig(
            image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
        ),
        "ConvNext": lambda: transformers.ConvNextConfig(hidden_sizes=[8, 32], depths=[1, 1], num_stages=2),
        "Dinov2": lambda: transformers.Dinov2Config(**SMALL, **IMAGE),
    }[kind]()
    config.id2label = labels
    model = unlike_any_start(getattr(transformers, f"{kind}ForImageClassification")(config))
    model.save_pretrained(folder)
    return model


def change_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@torch.no_grad()
def test_clips_sentences_lie_in_the_space_of_its_images(tmp_path):
    model = clip_into(tmp_path / "clip")
    encoder = load_encoder(f"hf:{tmp_path / 'clip'}")
    assert encoder.text_source == "own"
    text = encoder.load_own_text_encoder()
    assert (text.name, text.width, encoder.width) == (f"hf:{tmp_path / 'clip'}", 20, 20)
    theirs = model(input_ids=torch.tensor([[2, 5, 6, 3]]), pixel_values=encoder.normalize_image(image()))
    cosine = F.normalize(encoder(image(), PHOTO), dim=1) @ text(["red house"]).T
    torch.testing.assert_close(cosine, theirs.logits_per_image / model.logit_scale.exp())


@torch.no_grad()
def test_siglips_sentences_are_padded_and_lie_in_the_space_of_its_images(tmp_path):
    model = siglip_into(tmp_path)
    change_json(tmp_path / "tokenizer_config.json", padding_side="left")  # as SigLIP 2's is
    encoder = load_encoder(f"hf:{tmp_path}")
    assert encoder.text_source == "own"
    text = encoder.load_own_text_encoder("cpu")
    assert (text.width, encoder.width, text.limit) == (32, 32, 10)
    padded = torch.tensor([[2, 5, 6, 3, 0, 0, 0, 0, 0, 0]])
    theirs = model(input_ids=padded, pixel_values=encoder.normalize_image(image()))
    cosine = F.normalize(encoder(image(), PHOTO), dim=1) @ text(["red house"]).T
    torch.testing.assert_close(cosine, (theirs.logits_per_image - model.logit_bias) / model.logit_scale.exp())
    together = text(["Red HOUSE", "owl", "a a a a a a a a red red"])
    torch.testing.assert_close(together[:1], F.normalize(theirs.text_embeds, dim=1))
    halves = torch.tensor([[2, 4, 4, 4, 4, 4, 4, 4, 4, 3], [2, 5, 5, 3, 0, 0, 0, 0, 0, 0]])
    windows = model.text_model(input_ids=halves).pooler_output
    torch.testing.assert_close(together[2], F.normalize(windows.mean(0), dim=0))
    assert text.notes(["A Red owl"]) == []
    assert "'hous' is not in the vocabulary: did you mean 'house'?" in text.notes(["hous"])


def test_a_text_tower_that_is_incomplete_is_named(tmp_path):
    siglip_into(tmp_path)
    facts = json.loads((tmp_path / "tokenizer_config.json").read_text())
    del facts["pad_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(facts))
    with pytest.raises(EncoderError, match="its tokenizer has no padding token"):
        load_encoder(f"hf:{tmp_path}").load_own_text_encoder()
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"text encoder 'hf:.*': the folder can't be loaded"):
        load_encoder(f"hf:{tmp_path}").load_own_text_encoder()


def test_only_weights_that_come_with_their_text_tower_have_one(tmp_path):
    clip = clip_into(tmp_path / "clip")
    whole = load_encoder(f"hf:{tmp_path / 'clip'}")
    save_encoder(whole, tmp_path / "model")
    config = clip.config.vision_config
    config.projection_dim = 20
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "half")
    siglip = transformers.SiglipConfig(text_config=WORDS, vision_config={**SMALL, **IMAGE})
    transformers.SiglipForImageClassification(siglip).save_pretrained(tmp_path / "classifies")
    for encoder in (
        load_exported(tmp_path / "model"),
        load_encoder(f"hf:{tmp_path / 'half'}"),
        load_encoder(f"hf:{tmp_path / 'classifies'}"),
        load_encoder(f"hf:{tmp_path / 'clip'}", pretrained=False),
        ProjectedEncoder(whole, nn.Linear(20, 4)),
    ):
        assert encoder.text_source == ""
        assert encoder.load_own_text_encoder() is None
        assert encoder.class_vocabulary() is None
    assert copy.deepcopy(whole).load_own_text_encoder().width == 20


@pytest.mark.parametrize(("kind", "size"), [("ViT", 32), ("ViT", 48), ("ResNet", 32), ("Swin", 32)])
@torch.no_grad()
def test_an_image_classifiers_head_is_that_of_the_feature(kind, size, tmp_path):
    model = classifier_into(tmp_path / "theirs", kind, LABELS)
    encoder = load_encoder(f"hf:{tmp_path / 'theirs'}", size=size)
    shown = F.interpolate(image(), size)
    options = {"interpolate_pos_encoding": True} if size == 48 else {}
    own = model(pixel_values=encoder.normalize_image(shown), **options).logits
    torch.testing.assert_close(encoder.classifier()(encoder(shown, PHOTO)), own, atol=1e-4, rtol=1e-4)
    assert encoder.text_source == "classifier"
    vocabulary = encoder.class_vocabulary()
    assert (vocabulary.name, vocabulary.labels) == ("theirs", ("owl, night bird", "bus", "tree"))
    assert vocabulary.definitions == ("", "", "")


@pytest.mark.parametrize("kind", ["ConvNext", "Dinov2"])
def test_a_head_of_another_feature_is_left_out(kind, tmp_path):
    classifier_into(tmp_path, kind, LABELS)
    encoder = load_encoder(f"hf:{tmp_path}", size=32)
    assert encoder.classifier() is None
    assert encoder.class_vocabulary() is None
    assert encoder.text_source == ""


def test_the_head_is_not_exported(tmp_path):
    classifier_into(tmp_path / "theirs", "ViT", LABELS)
    encoder = load_encoder(f"hf:{tmp_path / 'theirs'}")
    plain = load_encoder(f"hf:{tmp_path / 'theirs'}", pretrained=False)
    assert encoder.state_dict().keys() == plain.state_dict().keys()
    assert plain.classifier() is None
    save_encoder(encoder, tmp_path / "model")
    exported = load_exported(tmp_path / "model")
    assert torch.equal(exported(image(), PHOTO), encoder(image(), PHOTO))
    assert exported.classifier() is None
    assert exported.class_vocabulary() is None
    assert exported.text_source == ""


def test_labels_that_are_imagenets_get_its_definitions(tmp_path):
    imagenet = imagenet_vocabulary()
    spelt = [label.replace("'", "").upper() for label in imagenet.short_labels]
    classifier_into(tmp_path / "ours", "ResNet", dict(enumerate(spelt)))
    assert load_encoder(f"hf:{tmp_path / 'ours'}", size=32).class_vocabulary() == imagenet
    first = {0: imagenet.labels[0], 1: imagenet.labels[1]}
    classifier_into(tmp_path / "few", "ResNet", first)
    assert load_encoder(f"hf:{tmp_path / 'few'}", size=32).class_vocabulary().labels == imagenet.labels[:2]
    spelt[0], spelt[1] = spelt[1], spelt[0]
    change_json(tmp_path / "ours" / "config.json", id2label=dict(enumerate(spelt)))
    found = load_encoder(f"hf:{tmp_path / 'ours'}", size=32).class_vocabulary()
    assert (found.name, found.labels[:2], found.definitions[0]) == ("ours", ("GOLDFISH", "TENCH"), "")


@pytest.mark.parametrize(
    "labels",
    [
        {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"},
        {0: "owl", 1: "bus", 2: ""},
        {0: "owl", 1: "bus", 7: "tree"},
        {0: "owl", 1: "bus", 2: "\ud800"},
    ],
)
def test_labels_that_say_nothing_leave_the_head_without_words(labels, tmp_path):
    classifier_into(tmp_path, "ViT", LABELS)
    change_json(tmp_path / "config.json", id2label=labels)
    encoder = load_encoder(f"hf:{tmp_path}")
    assert encoder.classifier().out_features == 3
    assert encoder.class_vocabulary() is None
    assert encoder.text_source == ""


def test_a_head_that_is_promised_but_missing_does_no_harm(tmp_path):
    config = transformers.ViTConfig(**SMALL, **IMAGE)
    config.id2label = LABELS
    transformers.ViTModel(config).save_pretrained(tmp_path)
    change_json(tmp_path / "config.json", architectures=["ViTForImageClassification"])
    encoder = load_encoder(f"hf:{tmp_path}")
    assert encoder.width == 32
    assert encoder.classifier() is None


def test_a_classifier_is_loaded_only_where_the_weights_have_one(monkeypatch, tmp_path):
    def load_model(*_: object, **__: object) -> nn.Module:
        raise AssertionError("loaded")

    classifier_into(tmp_path / "classifies", "ViT", LABELS)
    config = transformers.ViTConfig(**SMALL, **IMAGE)
    config.id2label = LABELS
    transformers.ViTModel(config).save_pretrained(tmp_path / "plain")
    monkeypatch.setattr("ssl_sbir.encoders.huggingface_classifier.load_complete_model", load_model)
    assert load_encoder(f"hf:{tmp_path / 'plain'}").text_source == ""
    assert load_encoder(f"hf:{tmp_path / 'classifies'}", pretrained=False).text_source == ""
    with pytest.raises(AssertionError, match="loaded"):
        load_encoder(f"hf:{tmp_path / 'classifies'}")


def test_a_timm_classifier_knows_imagenets_words_once_asked(monkeypatch):
    imagenet_vocabulary.cache_clear()
    encoder = timm_encoder("resnet18", size=32, pretrained=lambda model: None)
    conditioned = DomainConditionedEncoder(timm_encoder("resnet18", size=32, pretrained=lambda model: None))
    assert encoder.text_source == conditioned.text_source == "classifier"
    assert imagenet_vocabulary.cache_info().currsize == 0
    for one in (encoder, conditioned, copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert len(one.class_vocabulary()) == one.classifier().out_features == 1000
        assert one.class_vocabulary().short_labels[494] == "chime"
        assert one.load_own_text_encoder() is None


def test_a_conditioned_encoder_has_the_text_tower_of_the_plain_one():
    plain = timm_encoder("resnet18", size=32, pretrained=False)
    tower = WordVectorTextEncoder("own", WordVectorTable(["owl"], np.ones((1, 3), np.float32)))
    plain.load_own_text_encoder = {"cuda:7": tower}.get
    assert DomainConditionedEncoder(plain).load_own_text_encoder("cuda:7") is tower


@pytest.mark.parametrize("subset", _NUM_CLASSES_TO_SUBSET.items())
def test_each_size_of_imagenet_that_timm_infers_has_as_many_words(subset):
    count, name = subset
    assert len(imagenet_vocabulary(name)) == count


def test_a_timm_head_of_other_classes_has_no_words():
    def replace_head(model: nn.Module) -> None:
        model.fc = nn.Linear(512, 7)

    other = timm_encoder("resnet18", size=32, pretrained=replace_head)
    assert other.classifier().out_features == 7
    assert other.class_vocabulary() is None
    assert other.text_source == ""
    other.keep_classifier(nn.Linear(512, 7), imagenet_vocabulary)
    assert other.class_vocabulary() is None
    assert timm_encoder("resnet18", size=32, pretrained=False).text_source == ""


def test_lite0_knows_the_words_of_its_classes():
    needs_lite0()
    encoder = load_encoder("efficientnet_lite0")
    assert encoder.class_vocabulary() == imagenet_vocabulary()
    assert encoder.text_source == "classifier"


@pytest.fixture
def weights_at_hand(monkeypatch):
    """Random weights instead of those that would have to be fetched."""

    def fetch_weights(name: str) -> dict[str, torch.Tensor]:
        if name == "resnet50":
            return zoo.resnet50().state_dict()
        return {f"features.{key}": value for key, value in zoo.vgg16_bn().features.state_dict().items()}

    def create_model(
        name: str, size: int, pretrained: object, encoder_name: str, fixed_size: bool
    ) -> nn.Module:
        return timm.create_model(name, **({"img_size": size} if fixed_size else {}))

    monkeypatch.setattr("ssl_sbir.encoders.torchvision_models._fetch_torchvision_weights", fetch_weights)
    monkeypatch.setattr("ssl_sbir.encoders.timm_models.create_timm_model", create_model)
    monkeypatch.setattr("ssl_sbir.encoders.load.load_lite0_weights", lambda model: None)


@pytest.fixture(scope="module")
def reads_text():
    from ssl_sbir.encoders import encoder_table

    return {row.name: row.reads_text for row in encoder_table()}


SOURCES = {"own": "own text tower", "classifier": "by its classifier", "": "no"}


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("efficientnet_lite0", 32, "by its classifier"),
        ("efficientnet_lite0_conditional", 32, "by its classifier"),
        ("resnet50", 32, "by its classifier"),
        ("vgg16_bn", 32, "no"),
        ("cse_resnet50", 64, "by its classifier"),
        ("timm:vit_small_patch14_dinov2.lvd142m", 28, "no"),
        ("timm:vit_base_patch32_clip_224.openai", 32, "no"),
        ("timm:convnext_tiny.fb_in22k", 32, "no"),
    ],
)
def test_the_table_says_who_reads_text(name, size, said, weights_at_hand, reads_text):
    encoder: Encoder = load_encoder(name, size=size)
    assert SOURCES[encoder.text_source] == reads_text[name] == said
    vocabulary = encoder.class_vocabulary()
    assert (vocabulary is not None) == (said == "by its classifier")
    assert vocabulary is None or vocabulary == imagenet_vocabulary()


def test_the_table_says_what_cannot_be_fetched_here(reads_text):
    assert reads_text["hf:openai/clip-vit-base-patch32"] == "own text tower"
    assert reads_text["hf:facebook/dinov2-small"] == "no"
    forms = ("timm:NAME", "timm:NAME@FILE", "hf:NAME-or-FOLDER", "run:FOLDER")
    assert {reads_text[form] for form in forms} == {"depends"}
