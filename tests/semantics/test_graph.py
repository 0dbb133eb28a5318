"""The graph of concepts: each measure against a slow loop, paths in words, and the border to networkx."""

import itertools
import math
import random

import numpy as np
import pytest

from ssl_sbir.errors import SslSbirError
from ssl_sbir.semantics.concept_graph import ConceptGraph
from ssl_sbir.semantics.graph_source import GraphSemantics
from ssl_sbir.semantics.relations import relation_of

RELATIONS = ("IsA", "RelatedTo", "AtLocation", "Antonym", "Synonym")


@pytest.fixture(scope="module")
def triples():
    draw = random.Random(3)
    names = [f"c{n}" for n in range(14)]
    found = [
        (draw.choice(RELATIONS), *draw.sample(names, 2), draw.choice([0.5, 1.0, 2.0])) for _ in range(30)
    ]
    return [*found, ("IsA", "c1", "c1", 1.0), ("IsA", "lonely", "island", 1.0)]


@pytest.fixture(scope="module")
def graph(triples):
    return ConceptGraph.from_triples(triples)


def slow_strengths(triples):
    """{concept: {neighbour: strength}} of the strongest relation that counts, either way round."""
    found = {}
    for relation, a, b, weight in triples:
        strength = 1 - (1 - relation_of(relation).strength) ** weight
        if strength > 0 and a != b:
            for x, y in ((a, b), (b, a)):
                near = found.setdefault(x, {})
                near[y] = max(near.get(y, 0), strength)
    return found


def slow_path(near, a, b, longest=5):
    """The best product over all paths without repetition, divided by log2(2 + degree) of each concept between."""
    if a == b:
        return 1.0
    best = 0.0
    middle = [name for name in near if name not in (a, b)]
    for length in range(longest):
        for way in itertools.permutations(middle, length):
            product, here = 1.0, a
            for one in (*way, b):
                product *= near[here].get(one, 0)
                if not product:
                    break
                here = one
            for one in way:
                product /= math.log2(2 + len(near[one]))
            best = max(best, product)
    return best


def numbers(graph, names):
    return [graph.concept_index(name) for name in names]


def test_paths_equal_the_best_of_all_paths(graph, triples):
    near = slow_strengths(triples)
    names = sorted(near)
    rows, columns = names[:4], names[:7]
    found = graph.path_similarity(numbers(graph, rows), numbers(graph, columns))
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            assert found[i, j] == pytest.approx(slow_path(near, a, b, 4), abs=2e-3)
    assert np.allclose(found.T, graph.path_similarity(numbers(graph, columns), numbers(graph, rows)))
    island = numbers(graph, ["island"])
    assert graph.path_similarity(numbers(graph, rows[:1]), island)[0, 0] == 0


def test_pagerank_equals_the_closed_form(graph, triples):
    near = slow_strengths(triples)
    names = sorted(near)
    strength = {a: sum(near[a].values()) for a in names}
    step = np.array([[near[a].get(b, 0) / strength[a] for b in names] for a in names])
    ends = 0.15 * np.linalg.inv(np.eye(len(names)) - 0.85 * step)  # row: where walks from a end
    kernel = ends / np.array([strength[b] for b in names])
    expected = kernel / np.sqrt(np.outer(np.diagonal(kernel), np.diagonal(kernel)))
    nodes = numbers(graph, names)
    found = graph.pagerank_similarity(nodes, nodes)
    assert np.allclose(found, expected, atol=1e-3)
    assert np.allclose(found, found.T, atol=1e-3)


def test_overlap_counts_shared_neighbours(graph, triples):
    near = slow_strengths(triples)
    names = sorted(near)
    found = graph.overlap_similarity(numbers(graph, names), numbers(graph, names))
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            one, other = ({name, *near[name]} for name in (a, b))
            assert found[i, j] == pytest.approx(len(one & other) / len(one | other))


TRIPLES = [
    ("IsA", "cow", "mammal", 2.0),
    ("RelatedTo", "cow", "mammal", 1.0),
    ("IsA", "horse", "mammal", 1.0),
    ("AtLocation", "horse", "race track", 1.0),
    ("NotIsA", "cow", "fish", 1.0),
    ("Synonym", "automobile", "car", 1.0),
]


def test_a_path_says_its_relations_their_directions_and_strengths():
    source = GraphSemantics(ConceptGraph.from_triples(TRIPLES), "triples")
    path = source.path("cow", "race track")
    assert path.in_words() == "cow —is a→ mammal ←is a— horse —is found at→ race track"
    assert path.weights == pytest.approx((0.96, 0.8, 0.3))
    assert path.similarity == pytest.approx(0.96 * 0.8 * 0.3 / 4)  # mammal and horse: two neighbours each
    assert source.path("cow", "car") is None
    assert source.path("cow", "cow").in_words() == "cow"
    with pytest.raises(SslSbirError, match="doesn't know 'zebra'"):
        source.path("cow", "zebra")


def test_what_only_denies_is_no_concept_to_compare_with():
    source = GraphSemantics(ConceptGraph.from_triples(TRIPLES), "triples")
    found = source.resolve_names(["fish", "cows", "pickup_car", "race_track"])
    assert found["fish"] is None
    assert str(found["cows"]) == "cow (in the singular)"
    assert str(found["pickup_car"]) == "car (by its head noun)"
    assert found["race_track"].is_exact


def test_networkx_and_back(graph):
    again = ConceptGraph.from_networkx(graph.to_networkx())
    assert list(again.labels) == list(graph.labels)
    assert (again.adjacency_matrix != graph.adjacency_matrix).nnz == 0
