from dataclasses import dataclass

import pytest
import torch

from ssl_sbir.errors import SslSbirError
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary
from ssl_sbir.explain.text.nearest_concepts import find_pair_concepts, nearest_concepts


@dataclass(frozen=True)
class FakePath:
    nodes: tuple = ("cow", "mammal", "horse")
    relations: tuple = ("is a", "is a")
    directions: tuple = (1, -1)
    weights: tuple = (0.9, 0.2)
    similarity: float = 0.04

    def in_words(self):
        return "cow —is a→ mammal ←is a— horse"


class Graph:
    def __init__(self, found=None):
        self.found, self.asked = found, []

    def path(self, a, b):
        self.asked.append((a, b))
        return self.found


NAMES = ("cow", "horse", "sea_lion", "tree")
VOCABULARY = Vocabulary(NAMES, torch.eye(4), torch.eye(4), "four axes")
SKETCH = torch.tensor([1.0, 0.3, 0.0, 0.0])
PHOTOS = torch.tensor([[0.1, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.1]])


def test_the_nearest_ideas_and_the_path_between_them():
    graph = Graph(FakePath())
    first, second = find_pair_concepts(SKETCH, PHOTOS, VOCABULARY, graph)
    assert [near.name for near in first.drawing][:2] == ["cow", "horse"]
    assert first.photo[0].name == "horse"
    assert first.words == "cow —is a→ mammal ←is a— horse"
    assert [(step.relation, step.node, step.forward) for step in first.path] == [
        ("is a", "mammal", True),
        ("is a", "horse", False),
    ]
    assert first.path[1].weight == 0.2
    assert first.weight == 0.04
    assert any("only 0.04 of 1" in note for note in first.notes)
    assert second.words == "Both are nearest to “cow”."
    assert graph.asked == [("cow", "horse")]


def test_a_graph_without_either_idea_says_so():
    missing = find_pair_concepts(SKETCH, PHOTOS, VOCABULARY, Graph(None))[0]
    assert missing.path == ()
    assert any("no path between “cow” and “horse”" in note for note in missing.notes)

    class Refusing:
        def path(self, a, b):
            raise SslSbirError(f"unknown concept '{a}'")

    assert "unknown concept 'cow'" in find_pair_concepts(SKETCH, PHOTOS, VOCABULARY, Refusing())[0].notes
    assert find_pair_concepts(SKETCH, PHOTOS, VOCABULARY)[0].path == ()


def test_a_vague_neighbour_is_called_vague():
    flat = find_pair_concepts(torch.ones(4), torch.ones(1, 4), VOCABULARY)[0]
    assert sum("not clearly nearer" in note for note in flat.notes) == 2


@pytest.mark.parametrize(("count", "vague"), [(4, 2), (9, 0)])
def test_a_neighbour_is_vague_below_two_standard_deviations(count, vague):
    """One axis of n lies (1 − 1/n) √n standard deviations above the mean: 1.5 of 4, 2.7 of 9."""
    names = tuple(f"n{k}" for k in range(count))
    axes = Vocabulary(names, torch.eye(count), torch.eye(count), "axes")
    found = find_pair_concepts(torch.eye(count)[0], torch.eye(count)[1:2], axes)[0]
    assert sum("not clearly nearer" in note for note in found.notes) == vague


@pytest.mark.parametrize(("steps", "similarity", "weak"), [(4, 0.05, 0), (5, 0.05, 1), (4, 0.04, 1)])
def test_a_path_is_weak_above_four_steps_or_below_a_twentieth(steps, similarity, weak):
    nodes = ("cow", *("x" * steps)[1:], "horse")
    path = FakePath(nodes, ("is a",) * steps, (1,) * steps, (0.5,) * steps, similarity)
    found = find_pair_concepts(SKETCH, PHOTOS[:1], VOCABULARY, Graph(path))[0]
    assert sum("path is weak" in note for note in found.notes) == weak


def test_nearest_equals_a_slow_loop():
    draw = torch.Generator().manual_seed(0)
    one, many = torch.randn(5, generator=draw), torch.randn(7, 5, generator=draw)
    names = [f"n{k}" for k in range(7)]
    slow = sorted(range(7), key=lambda k: -torch.cosine_similarity(one, many[k], 0).item())
    assert [near.name for near in nearest_concepts(one, names, many)] == [names[k] for k in slow[:3]]
