"""Ranks of relevant items where photos are in the gallery several times or not at all, and scores are equal."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_sbir.ranking.relevance import find_relevant_indices, flat_relevant_ranks
from ssl_sbir.ranking.sorting import sort_best_first


def ranks_of(scores, query_labels, item_labels, weights=None, ties=True):
    ranking = sort_best_first(scores)
    relevant = find_relevant_indices(ranking, query_labels, item_labels)
    return flat_relevant_ranks(ranking, relevant, weights, ties)


@pytest.mark.parametrize("ties", [False, True])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), queries=st.integers(1, 4), items=st.integers(1, 12))
def test_weights_are_copies_of_photos(ties, seed, queries, items):
    random = np.random.default_rng(seed)
    scores = torch.from_numpy(random.integers(0, 3, (queries, items)).astype(np.float32))
    query_labels, item_labels = random.integers(0, 2, queries), random.integers(0, 2, items)
    weights = random.integers(0, 4, items).astype(np.int32)
    weights[random.integers(items)] = 1  # no empty gallery
    copies = torch.from_numpy(np.repeat(scores.numpy(), weights, axis=1))
    expected = ranks_of(copies, query_labels, np.repeat(item_labels, weights), ties=ties)
    found = ranks_of(scores, query_labels, item_labels, weights, ties)
    assert found.count.tolist() == expected.count.tolist()
    assert found.rank.tolist() == expected.rank.tolist()
    if ties:
        assert found.above.tolist() == expected.above.tolist()
        assert found.equal.tolist() == expected.equal.tolist()
