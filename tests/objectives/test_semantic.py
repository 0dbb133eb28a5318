"""Meaning as tensors: reconstruction, negatives by similarity, and sources that don't know a name."""

import math

import pytest
import torch

from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives import semantic_losses as semantic
from ssl_sbir.semantics.similarity_source import AS_IT_IS, Resolution, Semantics


class Letters(Semantics):
    """Classes are similar by the letters they share; `xyzzy` is no word."""

    spec = "letters"

    def resolve_name(self, name):
        return None if name == "xyzzy" else Resolution(name, AS_IT_IS, (0,))

    def compare_keys(self, rows, columns):
        raise NotImplementedError

    def similarity(self, a, b):
        assert "xyzzy" not in a
        rows = [[len(set(x) & set(y)) / len(set(x) | set(y)) for y in b] for x in a]
        return torch.tensor(rows)


@pytest.fixture(autouse=True)
def _names(monkeypatch):
    monkeypatch.setattr(semantic, "load_semantics", lambda spec: Letters())


CLASSES = ("cow", "crow", "owl", "bat")


def test_reconstruction_is_half_of_one_minus_the_cosine():
    recalled, meaning = torch.randn(3, 5), torch.randn(3, 5)
    slow = 0.0
    for r, m in zip(recalled, meaning, strict=True):
        slow += 0.5 * (1 - (r @ m / (r.norm() * m.norm())).item()) / 3
    assert semantic.semantic_reconstruction(recalled, meaning).item() == pytest.approx(slow, rel=1e-5)
    assert semantic.semantic_reconstruction(recalled[:0], meaning[:0]) == 0


def test_close_classes_are_negatives_more_often():
    vectors = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    weights = semantic.negative_weights(vectors, 2.0)
    for i in range(4):
        row = {
            j: math.exp(
                -sum((a - b) ** 2 for a, b in zip(vectors[i].tolist(), vectors[j].tolist(), strict=True)) / 2
            )
            for j in range(4)
            if j != i
        }
        assert weights[i, i] == 0
        for j, value in row.items():
            assert weights[i, j].item() == pytest.approx(value / sum(row.values()), rel=1e-4)


def test_similarities_become_vectors_whose_products_they_are():
    vectors = semantic.class_vectors("letters", CLASSES, "refuse")
    wanted = Letters().similarity(CLASSES, CLASSES)
    torch.testing.assert_close(vectors @ vectors.T, wanted, atol=0.05, rtol=0)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))


def test_a_name_that_no_source_knows_is_refused_or_left_neutral():
    with pytest.raises(ConfigError, match=r"doesn't know the class 'xyzzy'") as told:
        semantic.class_vectors("letters", (*CLASSES, "xyzzy"), "refuse")
    assert "unknown_classes=neutral" in told.value.hint
    similarity = semantic.class_similarity("letters", (*CLASSES, "xyzzy"), "neutral")
    assert similarity[4].abs().sum() == 0
    assert semantic.class_vectors("letters", (*CLASSES, "xyzzy"), "neutral")[4].abs().sum() < 1e-6
    with pytest.raises(ConfigError, match="doesn't know"):
        semantic.class_similarity("letters", ("xyzzy",), "neutral")


def test_only_teachers_of_imagenet_can_be_tilted():
    with pytest.raises(ConfigError, match="the teacher has 10 classes"):
        semantic.teacher_similarity("letters", CLASSES, 10, "refuse")
