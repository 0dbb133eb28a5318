"""Queries as sums: every part of a query is a vector, and what it adds to a photo's score is its product with it.

What that can do: ask for more of one side, move away from an idea, move towards photos that were liked. What it can't:
count, place things beside each other, or keep a refused thing out for certain; it only makes it score lower.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import QueryError
from ssl_sbir.gallery.base import unit_vectors

NEGATION_STEP_LENGTH = 0.5  # how far a refused text moves the query
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
    """The queries whose parts these are, all brought to unit length.

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
    """The step away from refused ideas, less what they share with the query, which shall stay.

    Args:
        query: unit vectors.
        negated: unit vectors.
        step_length: length of the whole step.
    """
    shared = (query * negated).sum(1, keepdim=True) * query
    return -step_length * (negated - shared)


def rocchio_steps(
    liked: Float[Tensor, "m d"], disliked: Float[Tensor, "n d"]
) -> dict[str, Float[Tensor, "1 d"]]:
    """Rocchio's steps: .75 × the mean of the liked photos, −.25 × the mean of the others; what is empty is left out.

    Rocchio, "Relevance feedback in information retrieval", in The SMART Retrieval System, 1971.
    """
    steps = {}
    if len(liked):
        steps["like"] = LIKED_WEIGHT * unit_vectors(liked).mean(0, keepdim=True)
    if len(disliked):
        steps["unlike"] = -DISLIKED_WEIGHT * unit_vectors(disliked).mean(0, keepdim=True)
    return steps
