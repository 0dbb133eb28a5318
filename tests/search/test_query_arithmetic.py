"""Queries as sums of parts, checked by hand."""

import pytest
import torch

from ssl_sbir.errors import QueryError
from ssl_sbir.search.query_arithmetic import negation_step, rocchio_steps, sum_query_parts

QUERY, NEGATED = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.6, 0.8, 0.0]])


def test_a_negation_takes_away_only_what_the_query_does_not_share():
    # The negated text is .6 of the query and .8 of something else: half of the .8 goes.
    torch.testing.assert_close(negation_step(QUERY, NEGATED), torch.tensor([[0.0, -0.4, 0.0]]))
    torch.testing.assert_close(negation_step(QUERY, NEGATED, 0.25), torch.tensor([[0.0, -0.2, 0.0]]))
    assert negation_step(QUERY, QUERY).abs().max() == 0
    unrelated = torch.tensor([[0.0, 0.0, 1.0]])
    torch.testing.assert_close(negation_step(QUERY, unrelated), -0.5 * unrelated)


def test_each_query_is_moved_by_its_own_step():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    steps = negation_step(queries, torch.tensor([[0.6, 0.8], [0.6, 0.8]]))
    torch.testing.assert_close(steps, torch.tensor([[0.0, -0.4], [-0.3, 0.0]]))


def test_photos_of_what_is_shared_rank_as_before_and_those_of_the_rest_lower():
    step = negation_step(QUERY, NEGATED)
    moved = sum_query_parts({"text": QUERY, "without": step})
    length = 1.16**0.5  # of (1, −.4, 0)
    torch.testing.assert_close(moved.vector, torch.tensor([[1.0, -0.4, 0.0]]) / length)
    torch.testing.assert_close(moved.parts["text"] + moved.parts["without"], moved.vector)
    shared, rest = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    assert float(moved.parts["without"] @ shared) == 0
    assert float(moved.vector @ rest) == pytest.approx(-0.4 / length)


def test_liked_and_disliked_photos_count_by_their_means():
    liked, disliked = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, -3.0]])
    steps = rocchio_steps(liked, disliked)
    torch.testing.assert_close(steps["like"], torch.tensor([[0.375, 0.375]]))
    torch.testing.assert_close(steps["unlike"], torch.tensor([[0.0, 0.25]]))
    assert rocchio_steps(liked, disliked[:0]).keys() == {"like"}
    assert rocchio_steps(liked[:0], disliked).keys() == {"unlike"}


def test_parts_that_cancel_each_other_are_refused():
    with pytest.raises(QueryError, match="cancel each other"):
        sum_query_parts({"sketch": QUERY, "text": -QUERY})
