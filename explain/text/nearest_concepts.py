"""The concepts nearest to drawing and photo, and the path between them in a common-sense graph.

The concepts are those of a vocabulary (`concept_vocabulary`). The photo's own label is never used.
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
# A path with more steps, or between less similar concepts, is called weak.
LONG_PATH_STEPS, FAINT_PATH_SIMILARITY = 4, 0.05
# A nearest concept fewer standard deviations above the vocabulary's mean is called unclear.
MIN_DEVIATIONS = 2


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
        """1 for a relation in the direction of the path, -1 for one against it."""

    @property
    def weights(self) -> Sequence[float] | None:
        """The strength of each relation."""

    @property
    def similarity(self) -> float:
        """The similarity of the two ends, 0 to 1."""

    def in_words(self) -> str:
        """The path as one line."""


@runtime_checkable
class GraphPathSource(Protocol):
    """A source of paths (`semantics.load_semantics`)."""

    def path(self, a: str, b: str) -> GraphPath | None:
        """The best path between two concepts."""


@dataclass(frozen=True)
class NearConcept:
    """A concept, its cosine, and how many standard deviations that is above the vocabulary's mean."""

    name: str
    score: float
    above: float


@dataclass(frozen=True)
class PathStep:
    """One relation of a path, from the previous node to `node`; the other way round if not `forward`."""

    relation: str
    node: str
    forward: bool
    weight: float | None


@dataclass(frozen=True)
class PairConcepts:
    """The concepts nearest to the two sides of a pair.

    Attributes:
        drawing: the vocabulary's concepts nearest to the drawing, nearest first.
        photo: those nearest to the photo.
        start: the drawing's nearest concept, where the path starts.
        path: from there to the photo's nearest concept; empty if they are the same or there is no path.
        words: the path in words.
        weight: similarity of the two concepts in the graph, 0 to 1; None without a path.
        notes: what is missing or weak, in sentences.
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
    """The concepts with the highest cosine to the embedding, nearest first."""
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
    """The concepts nearest to a drawing and each of k photos, and the paths between them.

    Args:
        sketch: embedding of the drawing, centred if the score is.
        photos: embeddings of the photos, centred if the score is.
        vocabulary: the concepts to choose from.
        semantics: finds paths between concepts; None for no paths.
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
        f"The {side} is not clearly nearer to one concept than to others."
        for side, near in (("drawing", ours), ("photo", theirs))
        if near[0].above < MIN_DEVIATIONS
    ]
    if one == other:
        words = f"Both are nearest to “{_readable_concept(one)}”."
        return PairConcepts(ours, theirs, one, (), words, tuple(vague))
    if semantics is None:
        return PairConcepts(ours, theirs, one, (), "", tuple(vague))
    try:
        path = semantics.path(one, other)
    except SslSbirError as error:
        return PairConcepts(ours, theirs, one, (), "", (*vague, error.message))
    if path is None:
        missing = (
            f"The graph has no path between “{_readable_concept(one)}” and “{_readable_concept(other)}”."
        )
        return PairConcepts(ours, theirs, one, (), "", (*vague, missing))
    notes = (*vague, *_path_weaknesses(path))
    return PairConcepts(
        ours,
        theirs,
        _readable_concept(path.nodes[0]),
        _path_steps(path),
        path.in_words(),
        notes,
        path.similarity,
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
        notes.append(f"The path is weak: it has {len(path.relations)} steps.")
    if path.similarity < FAINT_PATH_SIMILARITY:
        notes.append(
            f"The path is weak: the two concepts' similarity in the graph is only {path.similarity:.2g} of 1."
        )
    return notes


def _readable_concept(name: str) -> str:
    return name.replace("_", " ")
