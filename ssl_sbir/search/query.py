"""Queries: a drawing, a sentence, a photo or several of them, with feedback and negations, and their vectors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.manifest import Domain
from ssl_sbir.errors import QueryError
from ssl_sbir.gallery.base import Gallery
from ssl_sbir.registry import did_you_mean
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.negation import split_negations
from ssl_sbir.search.query_arithmetic import QueryVectors, negation_step, rocchio_steps, sum_query_parts
from ssl_sbir.search.query_image import QueryImage

QUERY_MODALITIES = ("sketch", "text", "photo")
QUERY_BATCH_SIZE = 64
Weights = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class SearchQuery:
    """One query.

    Attributes:
        sketch: a drawing.
        text: a sentence; its negations ("not a cartoon") are taken out of it when it is searched.
        photo: a photo, to find similar ones.
        weights: how much each of them counts; only the ratio matters. Empty for the model's own.
        without: further texts to move away from.
        like: ids of photos to move towards.
        unlike: ids of photos to move away from.
    """

    sketch: QueryImage | None = None
    text: str = ""
    photo: QueryImage | None = None
    weights: Weights = ()
    without: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def with_refinement(
        self,
        text: str = "",
        without: Sequence[str] = (),
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
    ) -> "SearchQuery":
        """The query with additions: `text` is appended to its sentence, the others to its own lists."""
        return replace(
            self,
            text=", ".join(part for part in (self.text.strip(" ,"), text.strip(" ,")) if part),
            without=(*self.without, *without),
            like=(*self.like, *like),
            unlike=(*self.unlike, *unlike),
        )

    def weighted_modalities(self) -> tuple[str, ...]:
        """Which of sketch, text and photo the query holds with a weight above 0.

        Raises:
            QueryError: it holds some, and all of them have weight 0.
        """
        weights = dict(self.weights)
        present = [name for name in QUERY_MODALITIES if getattr(self, name)]
        weighted = tuple(name for name in present if weights.get(name, 1.0))
        if present and not weighted:
            raise QueryError("every part of the query weighs 0", "Give one of them a weight above 0.")
        return weighted

    def facts(self) -> dict[str, Any]:
        """The query, JSON-able."""
        return {
            "sketch": self.sketch.name if self.sketch else None,
            "text": self.text or None,
            "photo": self.photo.name if self.photo else None,
            "weights": dict(self.weights) or None,
            "without": list(self.without),
            "like": [printable_name(name) for name in self.like],
            "unlike": [printable_name(name) for name in self.unlike],
        }


def validate_weights(weights: Mapping[str, float | int] | None) -> Weights:
    """The weights as a `SearchQuery` holds them.

    Raises:
        QueryError: an unknown part, or a weight that is negative or not finite.
    """
    for name, value in (weights or {}).items():
        if name not in QUERY_MODALITIES:
            raise QueryError(
                f"weight of '{name}'.{did_you_mean(name, QUERY_MODALITIES)}",
                f"Parts of a query: {', '.join(QUERY_MODALITIES)}",
            )
        if not np.isfinite(value) or value < 0:
            raise QueryError(f"weight {name}={value}", "A weight is 0 or more; only the ratio matters.")
    return tuple((name, float(value)) for name, value in (weights or {}).items())


def sketch_and_text_weights(weights: Mapping[str, float]) -> tuple[float, float] | None:
    """The weights of drawing and text for fusion; None, the model's own, where a query sets none."""
    return (weights.get("sketch", 1.0), weights.get("text", 1.0)) if weights else None


@dataclass(frozen=True)
class EmbeddedQuery:
    """The vector of one query with its parts, and what is doubtful about it, a sentence each."""

    vectors: QueryVectors
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _ParsedQuery:
    """A query whose `text` is the positive part of the sentence; `negated` is the rest, with what is given as `without`.

    `label` precedes errors about this query in a batch.
    """

    query: SearchQuery
    negated: tuple[str, ...]
    label: str

    @contextmanager
    def errors_labeled(self) -> Iterator[None]:
        try:
            yield
        except QueryError as error:
            raise QueryError(f"{self.label}{error.message}", error.hint) from error


def embed_queries(
    model: SearchModel, gallery: Gallery, queries: Sequence[SearchQuery]
) -> list[EmbeddedQuery]:
    """The vector of each query; queries of the same modalities and weights are embedded together.

    Raises:
        QueryError: a query is empty, or a part of it can't be read.
    """
    parsed = [
        _parse_query(query, f"query {number}: " if len(queries) > 1 else "")
        for number, query in enumerate(queries, 1)
    ]
    embedded: dict[int, EmbeddedQuery] = {}
    for indices in _embedding_batches(parsed):
        notes, parts = _embed_positive_parts(model, [parsed[index] for index in indices])
        for row, index in enumerate(indices):
            own_parts = {name: part[row : row + 1] for name, part in parts.items()}
            embedded[index] = _combine_query_parts(model, gallery, parsed[index], own_parts, notes[row])
    return [embedded[index] for index in range(len(queries))]


def _parse_query(query: SearchQuery, label: str) -> _ParsedQuery:
    _check_valid_utf8(query.text, *query.without)
    text, negated = split_negations(query.text)
    without = (text for text in query.without if text.strip())
    return _ParsedQuery(replace(query, text=text), (*negated, *without), label)


def _embedding_batches(parsed: Sequence[_ParsedQuery]) -> Iterator[list[int]]:
    """Indices of queries that can be embedded together."""
    groups: dict[tuple[tuple[str, ...], Weights], list[int]] = {}
    for index, one in enumerate(parsed):
        groups.setdefault((one.query.weighted_modalities(), one.query.weights), []).append(index)
    for indices in groups.values():
        for start in range(0, len(indices), QUERY_BATCH_SIZE):
            yield indices[start : start + QUERY_BATCH_SIZE]


def _embed_positive_parts(
    model: SearchModel, parsed: Sequence[_ParsedQuery]
) -> tuple[list[list[str]], dict[str, Float[Tensor, "b d"]]]:
    """Warnings about each drawing, and the parts of what the queries ask for, whose sum has length about 1.

    All queries have the modalities and weights of the first.
    """
    modalities, weights = parsed[0].query.weighted_modalities(), dict(parsed[0].query.weights)
    texts, preprocess = [one.query.text for one in parsed], model.encoder.preprocess
    notes: list[list[str]] = [[] for _ in parsed]
    parts: dict[str, Tensor] = {}
    if "sketch" in modalities:
        pixels, notes = _load_sketches(parsed, preprocess.size, preprocess.fit)
        sketches = _to_image_batch(pixels)
        if "text" in modalities:
            parts = model.fuse(sketches, texts, sketch_and_text_weights(weights))
        else:
            parts = {"sketch": model.embed_sketch(sketches)}
    elif "text" in modalities:
        parts = {"text": model.embed_text(texts)}
    if "photo" in modalities:
        share = weights.get("photo", 1.0) / sum(weights.get(name, 1.0) for name in modalities)
        photos = _to_image_batch(_load_photos(parsed, preprocess.size, preprocess.fit))
        parts = {name: (1 - share) * part for name, part in parts.items()}
        parts["photo"] = share * model.embed_images(photos, Domain.PHOTO)
    return notes, parts


def _combine_query_parts(
    model: SearchModel, gallery: Gallery, parsed: _ParsedQuery, parts: dict[str, Tensor], notes: list[str]
) -> EmbeddedQuery:
    query, negated = parsed.query, parsed.negated
    if query.like or query.unlike:
        parts = {**parts, **rocchio_steps(gallery.get_vectors(query.like), gallery.get_vectors(query.unlike))}
    if not parts.keys() - {"unlike"}:
        is_negative = bool(negated or query.unlike)
        hint = "It only says what not to find." if is_negative else "Give a sketch, a text or a photo."
        raise QueryError("the query is empty", hint)
    vectors = sum_query_parts(parts)
    if negated:
        step = negation_step(vectors.vector, model.embed_text(negated).mean(0, keepdim=True))
        vectors = sum_query_parts({**vectors.parts, "without": step})
        notes = [
            *notes,
            f"moved away from: {'; '.join(negated)}; such photos score lower but may still appear",
        ]
    texts = [text for text in (query.text, *negated) if text]
    return EmbeddedQuery(vectors, (*notes, *model.text_notes(texts)))


def _load_sketches(
    parsed: Sequence[_ParsedQuery], size: int, fit: str
) -> tuple[list[npt.NDArray[np.uint8]], list[list[str]]]:
    pixels, notes = [], []
    for one in parsed:
        assert one.query.sketch is not None
        with one.errors_labeled():
            sketch, warnings = one.query.sketch.load_sketch(size, fit)
        pixels.append(sketch)
        notes.append(warnings)
    return pixels, notes


def _load_photos(parsed: Sequence[_ParsedQuery], size: int, fit: str) -> list[npt.NDArray[np.uint8]]:
    pixels = []
    for one in parsed:
        assert one.query.photo is not None
        with one.errors_labeled():
            pixels.append(one.query.photo.load_pixels(size, fit))
    return pixels


def _to_image_batch(pixels: Sequence[npt.NDArray[np.uint8]]) -> Float[Tensor, "b 3 s s"]:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def _check_valid_utf8(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise QueryError(
                f"the text {printable_name(text)[:60]!r} is not valid UTF-8", "Write it in UTF-8."
            ) from error
