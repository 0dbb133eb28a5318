"""Which ideas drawing and photo stand near, and how the two ideas hang together in a graph of common sense.

The ideas are those of a vocabulary (`explain.vocabulary`). The photo's own label is never looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import SslSbirError
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary

NEAREST_CONCEPTS = 3
# A path of more steps, or between ideas less alike than this, says little.
LONG_PATH_STEPS, FAINT_PATH_SIMILARITY = 4, 0.05


@runtime_checkable
class GraphPath(Protocol):
    """A path in a graph of concepts (`semantics.ConceptPath`)."""

    @property
    def nodes(self) -> Sequence[str]:
        """n + 1 concepts."""

    @property
    def relations(self) -> Sequence[str]:
        """n relations in words."""

    @property
    def directions(self) -> Sequence[int]:
        """1 for a relation that leads on, -1 for one that leads back."""

    @property
    def weights(self) -> Sequence[float] | None:
        """The strength of each relation."""

    @property
    def similarity(self) -> float:
        """Of both ends, 0 to 1."""

    def in_words(self) -> str:
        """The path as one line."""


@runtime_checkable
class GraphPathSource(Protocol):
    """A source of paths (`semantics.load_semantics`)."""

    def path(self, a: str, b: str) -> GraphPath | None:
        """The best path between two concepts."""


@dataclass(frozen=True)
class NearConcept:
    """A concept and how near it is: the cosine, and how many standard deviations above the vocabulary's mean."""

    name: str
    score: float
    above: float


@dataclass(frozen=True)
class PathStep:
    """One relation of a path: `relation` leads from the node before to `node`, or back where not `forward`."""

    relation: str
    node: str
    forward: bool
    weight: float | None


@dataclass(frozen=True)
class PairConcepts:
    """The ideas near one pair.

    Attributes:
        drawing: the vocabulary's concepts nearest to the drawing, nearest first.
        photo: those nearest to the photo.
        start: where the path starts: the drawing's nearest concept.
        path: from there to the photo's nearest concept; empty where they are the same or there is none.
        words: the path in words.
        weight: how alike the graph finds the two ideas, 0 to 1; None without a path.
        notes: what is missing or weak.
    """

    drawing: tuple[NearConcept, ...]
    photo: tuple[NearConcept, ...]
    start: str
    path: tuple[PathStep, ...]
    words: str
    notes: tuple[str, ...]
    weight: float | None = None


def nearest_concepts(
    embedding: Float[Tensor, " d"],
    names: Sequence[str],
    vectors: Float[Tensor, "n d"],
    count: int = NEAREST_CONCEPTS,
) -> tuple[NearConcept, ...]:
    """The concepts whose vectors point most alike, nearest first."""
    scores = torch.cosine_similarity(embedding.to(vectors)[None], vectors)
    spread = scores.std().clamp(min=1e-9) if len(scores) > 1 else scores.new_ones(())
    above = (scores - scores.mean()) / spread
    order = scores.argsort(descending=True, stable=True)[:count].tolist()
    return tuple(NearConcept(names[n], scores[n].item(), above[n].item()) for n in order)


def find_pair_concepts(
    sketch: Float[Tensor, " d"],
    photos: Float[Tensor, "k d"],
    vocabulary: Vocabulary,
    semantics: GraphPathSource | None = None,
) -> list[PairConcepts]:
    """The ideas near a drawing and each of k photos, and the paths between them.

    Args:
        sketch: embedding of the drawing, centred if the score is.
        photos: embeddings of the photos, likewise.
        vocabulary: what ideas there are.
        semantics: has `path(a, b)`; None for no path.
    """
    ours = nearest_concepts(sketch, vocabulary.names, vocabulary.sketch)
    return [
        _pair_concepts(ours, nearest_concepts(photo, vocabulary.names, vocabulary.photo), semantics)
        for photo in photos
    ]


def _pair_concepts(
    ours: tuple[NearConcept, ...], theirs: tuple[NearConcept, ...], semantics: GraphPathSource | None
) -> PairConcepts:
    one, other = ours[0].name, theirs[0].name
    vague = [
        f"The {what} is not clearly nearer to one idea than to others."
        for what, near in (("drawing", ours), ("photo", theirs))
        if near[0].above < 2
    ]
    if one == other:
        words = f"Both stand nearest to “{_readable_concept(one)}”."
        return PairConcepts(ours, theirs, one, (), words, tuple(vague))
    if semantics is None:
        return PairConcepts(ours, theirs, one, (), "", tuple(vague))
    try:
        found = semantics.path(one, other)
    except SslSbirError as error:
        return PairConcepts(ours, theirs, one, (), "", (*vague, error.message))
    if found is None:
        missing = (
            f"The graph knows no path between “{_readable_concept(one)}” and “{_readable_concept(other)}”."
        )
        return PairConcepts(ours, theirs, one, (), "", (*vague, missing))
    notes = (*vague, *_path_weaknesses(found))
    return PairConcepts(
        ours,
        theirs,
        _readable_concept(found.nodes[0]),
        _path_steps(found),
        found.in_words(),
        notes,
        found.similarity,
    )


def _path_steps(path: GraphPath) -> tuple[PathStep, ...]:
    weights: Sequence[float | None] = path.weights or [None] * len(path.relations)
    return tuple(
        PathStep(relation, _readable_concept(node), direction > 0, weight)
        for relation, node, direction, weight in zip(
            path.relations, path.nodes[1:], path.directions, weights, strict=True
        )
    )


def _path_weaknesses(path: GraphPath) -> list[str]:
    notes = []
    if len(path.relations) > LONG_PATH_STEPS:
        notes.append(f"The path is weak: {len(path.relations)} steps lie between the two ideas.")
    if path.similarity < FAINT_PATH_SIMILARITY:
        notes.append(
            f"The path is weak: the graph finds the two ideas only {path.similarity:.2g} alike, of 1."
        )
    return notes


def _readable_concept(name: str) -> str:
    return name.replace("_", " ")
