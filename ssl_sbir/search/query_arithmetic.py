"""Queries as sums: every part of a query is a vector, and adds its product with a photo's vector to the photo's score.

This can weigh drawing against text, move away from an idea, and move towards liked photos. It can't count, place
things beside each other, or exclude a negated thing for certain; it only makes it score lower.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import QueryError
from ssl_sbir.gallery.base import unit_vectors

NEGATION_STEP_LENGTH = 0.5  # how far negated text moves the query
LIKED_WEIGHT, DISLIKED_WEIGHT = 0.75, 0.25  # Salton & Buckley, JASIS 1990, for Rocchio's formula
MIN_QUERY_NORM = 1e-4


@dataclass(frozen=True)
class QueryVectors:
    """Some queries.

    Attributes:
        vector: [q, d], unit length.
        parts: by name, [q, d] each; they add up to `vector`.
    """

    vector: Float[Tensor, "q d"]
    parts: dict[str, Float[Tensor, "q d"]]


def sum_query_parts(parts: Mapping[str, Float[Tensor, "q d"]]) -> QueryVectors:
    """The queries that are the sums of these parts, scaled to unit length.

    Raises:
        QueryError: the parts of a query cancel each other.
    """
    total = torch.stack(list(parts.values())).sum(0)
    length = torch.linalg.vector_norm(total, dim=1, keepdim=True)
    if (length < MIN_QUERY_NORM).any():
        raise QueryError("the parts of the query cancel each other", "Leave one out, or change its weight.")
    return QueryVectors(total / length, {name: part / length for name, part in parts.items()})


def negation_step(
    query: Float[Tensor, "q d"], negated: Float[Tensor, "q d"], step_length: float = NEGATION_STEP_LENGTH
) -> Float[Tensor, "q d"]:
    """The step of a query away from negated text: −length · (negated − its projection on the query).

    The projection is what both share ("a cat" in "a cat, not a cartoon cat"); the query keeps it.

    Args:
        query: [q, d] unit vectors.
        negated: [q, d] unit vectors, or means of several.
        step_length: length of the step before the projection is taken out.

    Returns:
        [q, d] steps, orthogonal to their queries.
    """
    shared = (query * negated).sum(1, keepdim=True) * query
    return -step_length * (negated - shared)


def rocchio_steps(
    liked: Float[Tensor, "m d"], disliked: Float[Tensor, "n d"]
) -> dict[str, Float[Tensor, "1 d"]]:
    """Rocchio's steps: .75 × the mean of the liked photos, −.25 × the mean of the disliked; empty sides are left out.

    Rocchio, "Relevance feedback in information retrieval", in The SMART Retrieval System, 1971.
    """
    steps = {}
    if len(liked):
        steps["like"] = LIKED_WEIGHT * unit_vectors(liked).mean(0, keepdim=True)
    if len(disliked):
        steps["unlike"] = -DISLIKED_WEIGHT * unit_vectors(disliked).mean(0, keepdim=True)
    return steps
