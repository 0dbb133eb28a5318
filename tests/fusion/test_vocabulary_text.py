"""Texts through the words of a classifier: weights against a slow loop, exact sums, and sides that survive a file."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from vocabulary_for_tests import SHAPE_VOCABULARY, SMALL_DICTIONARY, load_word_vectors

from ssl_sbir.encoders import encoder_from_spec, load_encoder
from ssl_sbir.encoders.class_vocabulary import ClassVocabulary, embed_texts_cached, embed_vocabulary
from ssl_sbir.encoders.teacher_beside import TeacherBesideEncoder
from ssl_sbir.errors import EncoderError, RunError
from ssl_sbir.fusion import VocabularySide, save_text_tower, text_side_of_rows, vocabulary_tower
from ssl_sbir.fusion.export_text_side import load_vocabulary_side, read_text_kind
from ssl_sbir.fusion.open_text_side import open_text_side
from ssl_sbir.fusion.reverse_dictionary import ReverseDictionary
from ssl_sbir.fusion.vocabulary_head import VocabularyHead, centre_class_rows

TEXTS = ["circle", "a round thing that turns", "equal sides and corners", "red"]


@pytest.fixture(autouse=True)
def small_dictionary(monkeypatch):
    monkeypatch.setattr(vocabulary_tower, "_read_dictionary_words", lambda: SMALL_DICTIONARY)


@pytest.fixture
def encoder():
    return load_encoder("timm:test_efficientnet", size=32, pretrained=False).eval()


@pytest.fixture
def side(encoder):
    rows = torch.randn(4, encoder.width, generator=torch.Generator().manual_seed(1))
    return VocabularySide(SHAPE_VOCABULARY, centre_class_rows(rows)).use_row_spread()


def test_class_weights_equal_a_slow_loop(tmp_path, monkeypatch):
    monkeypatch.setattr("ssl_sbir.fusion.vocabulary_head.KEPT_CLASSES", 3)
    monkeypatch.setattr("ssl_sbir.fusion.reverse_dictionary.NUM_ENTRIES", 2)
    text_encoder = load_word_vectors(tmp_path)
    names, definitions = text_encoder(SMALL_DICTIONARY.labels), text_encoder(SMALL_DICTIONARY.definitions)
    described = embed_vocabulary(SHAPE_VOCABULARY, text_encoder)
    dictionary = ReverseDictionary(SMALL_DICTIONARY, names, definitions)
    head = VocabularyHead(SHAPE_VOCABULARY, torch.randn(4, 5), described, dictionary)
    words = text_encoder(TEXTS)

    def similar(vector):
        odds = [math.exp(float(vector @ one) / 0.05) for one in described]
        return [odd / sum(odds) for odd in odds]

    for vector, weights in zip(words, head.class_weights(words).tolist(), strict=True):
        by_definition = [float(vector @ one) for one in definitions]
        by_name = max(float(vector @ one) for one in names)
        degree = 1 / (1 + math.exp(-(max(by_definition) - by_name) / 0.05))
        best = sorted(range(3), key=lambda j: -by_definition[j])[:2]
        odds = {j: math.exp(by_definition[j] / 0.03) for j in best}
        expected = [
            (1 - 0.7 * degree) * direct
            + 0.7 * degree * sum(odds[j] / sum(odds.values()) * similar(names[j])[i] for j in best)
            for i, direct in enumerate(similar(vector))
        ]
        expected[expected.index(min(expected))] = 0.0
        assert weights == pytest.approx([one / sum(expected) for one in expected], abs=1e-4)


def test_class_contributions_sum_to_the_score(tmp_path, encoder, side):
    tower = side.open_tower(load_word_vectors(tmp_path), encoder)
    photos = F.normalize(torch.randn(6, encoder.width), dim=1)
    for text in TEXTS:
        parts = tower.head.class_contributions(tower.encoder([text])[0], photos)
        assert parts.shape == (6, 4)
        torch.testing.assert_close(parts.sum(1), (photos @ tower([text]).T)[:, 0], atol=1e-5, rtol=0)


def test_a_description_is_read_through_the_dictionary_and_a_name_is_not(tmp_path, encoder, side):
    tower = side.open_tower(load_word_vectors(tmp_path), encoder)
    degree = tower.head.dictionary.description_degree(tower.encoder(["a round thing that turns", "wheel"]))
    assert degree[0] > 0.9
    assert degree[1] < 0.1
    assert tower.class_weights(["circle"])[0].argmax() == 0


def test_a_text_unlike_everything_is_said(tmp_path, encoder, side, monkeypatch):
    monkeypatch.setattr(vocabulary_tower, "MIN_SIMILARITY", 0.95)
    tower = side.open_tower(load_word_vectors(tmp_path), encoder)
    assert not any("no word" in line for line in tower.describe_doubts("wheel"))
    assert any("no word that the encoder knows" in line for line in tower.describe_doubts("red"))
    assert any("red" in line for line in tower.describe_doubts("a red circle"))


def test_a_side_survives_its_files(tmp_path, encoder, side):
    side.fusion.share.fill_(0.4)
    save_text_tower(side, tmp_path)
    assert read_text_kind(tmp_path) == "vocabulary"
    again = load_vocabulary_side(tmp_path)
    assert again.vocabulary == SHAPE_VOCABULARY
    assert torch.equal(again.rows, side.rows)
    text_encoder = load_word_vectors(tmp_path)
    towers = [one.open_tower(text_encoder, encoder) for one in (side, again)]
    assert towers[0].facts() == towers[1].facts()
    sketches = torch.randn(4, encoder.width)
    assert torch.equal(*(tower.fuse(sketches, TEXTS).vector for tower in towers))
    assert towers[1].weights == pytest.approx((0.4, 0.6))


@pytest.mark.parametrize(
    "damage",
    [
        lambda spec: spec.pop("vocabulary"),
        lambda spec: spec["vocabulary"].update(labels=["one"]),
        lambda spec: spec["vocabulary"].update(definitions=[1, 2, 3, 4]),
        lambda spec: spec.update(width="wide"),
        lambda spec: spec.update(text_encoder=None),
        lambda spec: spec.update(width=7),
    ],
)
def test_a_damaged_side_is_refused(tmp_path, side, damage):
    save_text_tower(side, tmp_path)
    path = tmp_path / "text/config.json"
    spec = json.loads(path.read_text())
    damage(spec)
    path.write_text(json.dumps(spec))
    with pytest.raises(RunError):
        load_vocabulary_side(tmp_path)


def test_facts_depend_on_all_that_a_text_depends_on(tmp_path, encoder, side):
    text_encoder = load_word_vectors(tmp_path)
    other_rows = VocabularySide(SHAPE_VOCABULARY, side.rows + 0.1)
    renamed = VocabularySide(
        ClassVocabulary("shapes", ("ring", *SHAPE_VOCABULARY.labels[1:]), SHAPE_VOCABULARY.definitions),
        side.rows,
    )
    hashes = {one.open_tower(text_encoder, encoder).facts()["sha256"] for one in (side, other_rows, renamed)}
    assert len(hashes) == 3


def test_words_unknown_to_the_text_encoder_have_no_direction(tmp_path):
    text_encoder = load_word_vectors(tmp_path)
    vectors = embed_texts_cached(("circle", "zzz", ""), text_encoder)
    assert vectors.norm(dim=1).tolist() == pytest.approx([1, 0, 0])
    assert torch.equal(vectors, embed_texts_cached(("circle", "zzz", ""), text_encoder))


def test_a_teacher_whose_classes_have_no_names_gives_no_side(encoder):
    assert encoder.class_vocabulary() is None
    assert text_side_of_rows(encoder, torch.randn(1000, 8)) is None


def test_an_encoder_without_classifier_or_text_tower_is_refused(encoder):
    with pytest.raises(EncoderError, match="tiny reads images, not text"):
        open_text_side(encoder, "tiny")


def beside(encoder):
    teacher = load_encoder("timm:test_resnet", size=48, pretrained=False).eval()
    torch.manual_seed(3)
    return TeacherBesideEncoder(encoder, teacher, nn.Linear(teacher.width, 12, bias=False)).eval()


@torch.no_grad()
def test_the_teacher_beside_leaves_the_ranking_of_drawings_alone(encoder):
    both = beside(encoder)
    images, domain = torch.rand(6, 3, 48, 48), torch.tensor([0, 0, 1, 1, 1, 1])
    features = both(images, domain)
    width = encoder.width
    assert features.shape == (6, width + 12)
    assert not features[:2, width:].any()
    torch.testing.assert_close(features[:, :width].norm(dim=1), torch.ones(6))
    torch.testing.assert_close(features[2:, width:].norm(dim=1), torch.ones(4))
    small = F.interpolate(images, (32, 32), mode="bilinear", antialias=True).clamp(0, 1)
    alone = F.normalize(encoder(small, domain), dim=1)
    scores = F.normalize(features[:2], dim=1) @ F.normalize(features[2:], dim=1).T
    torch.testing.assert_close(scores, alone[:2] @ alone[2:].T / 2**0.5)


@torch.no_grad()
def test_the_map_of_both_has_the_feature_as_its_mean(encoder):
    both = beside(encoder)
    images, domain = torch.rand(3, 3, 48, 48), torch.tensor([0, 1, 1])
    torch.testing.assert_close(both.feature_map(images, domain).mean((2, 3)), both(images, domain))


@torch.no_grad()
def test_both_are_rebuilt_from_their_spec(encoder):
    both = beside(encoder)
    again = encoder_from_spec(both.spec).eval()
    again.load_state_dict(both.state_dict())
    images, domain = torch.rand(2, 3, 48, 48), torch.tensor([0, 1])
    assert again.preprocess == both.preprocess
    assert torch.equal(again(images, domain), both(images, domain))


def test_a_teacher_of_smaller_images_is_refused(encoder):
    teacher = load_encoder("timm:test_resnet", size=16, pretrained=False)
    with pytest.raises(EncoderError, match=r"32 px .* teacher of 16 px"):
        TeacherBesideEncoder(encoder, teacher, nn.Linear(teacher.width, 12, bias=False))


@torch.no_grad()
def test_a_text_beside_the_teacher_has_no_part_in_the_code(tmp_path, encoder, side):
    both = beside(encoder)
    tower = side.beside(torch.randn(4, 12)).open_tower(load_word_vectors(tmp_path), both)
    vectors = tower(TEXTS)
    assert not vectors[:, : encoder.width].any()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    query = tower.fuse(both(torch.rand(4, 3, 48, 48), torch.zeros(4, dtype=torch.long)), TEXTS)
    torch.testing.assert_close(query.sketch + query.text, query.vector)
    assert query.vector[:, : encoder.width].any(1).all()
    assert query.vector[:, encoder.width :].any(1).all()
