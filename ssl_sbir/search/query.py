"""What was asked: any of a drawing, a sentence and a photo, and what of it was liked or refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

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
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SearchQuery:
    """One query.

    Attributes:
        sketch: a drawing.
        text: a sentence; its refusals ("not a cartoon") are taken out of it when it is searched.
        photo: a photo whose like is sought.
        weights: how much each of them counts, of which only the ratio matters; empty for the model's own.
        without: further texts to move away from.
        like: ids of photos to move towards.
        unlike: ids of photos to move away from.
    """

    sketch: QueryImage | None = None
    text: str = ""
    photo: QueryImage | None = None
    weights: tuple[tuple[str, float], ...] = ()
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
        """The query with more said: a text is added to its text, ids and refusals to its own."""
        return replace(
            self,
            text=", ".join(part for part in (self.text.strip(" ,"), text.strip(" ,")) if part),
            without=(*self.without, *without),
            like=(*self.like, *like),
            unlike=(*self.unlike, *unlike),
        )


def validate_weights(weights: Mapping[str, float | int] | None) -> tuple[tuple[str, float], ...]:
    """The weights as an `Ask` holds them.

    Raises:
        QueryError: an unknown side, or a weight that is negative or not finite.
    """
    for name, value in (weights or {}).items():
        if name not in QUERY_MODALITIES:
            raise QueryError(
                f"weight of '{name}'.{did_you_mean(name, QUERY_MODALITIES)}",
                f"Sides: {', '.join(QUERY_MODALITIES)}",
            )
        if not np.isfinite(value) or value < 0:
            raise QueryError(f"weight {name}={value}", "A weight is 0 or more; only their ratio counts.")
    return tuple((name, float(value)) for name, value in (weights or {}).items())


@dataclass(frozen=True)
class EmbeddedQuery:
    """The vector of one query with its parts, and what is doubtful about it, a sentence each."""

    vectors: QueryVectors
    notes: tuple[str, ...]


def embed_queries(
    model: SearchModel, gallery: Gallery, queries: Sequence[SearchQuery]
) -> list[EmbeddedQuery]:
    """The vector of each query; those that hold the same sides are embedded together.

    Raises:
        QueryError: there is nothing to search for, or it can't be read.
    """
    for ask in queries:
        _check_valid_utf8(ask.text, *ask.without)
    split = [split_negations(ask.text) for ask in queries]
    wanted = [replace(ask, text=text) for ask, (text, _) in zip(queries, split, strict=True)]
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, ask in enumerate(wanted):
        groups.setdefault(_given_modalities(ask), []).append(place)
    found: dict[int, EmbeddedQuery] = {}
    for sides, places in groups.items():
        names = [f"query {place + 1}: " if len(queries) > 1 else "" for place in places]
        notes, parts = _embed_positive_parts(model, [wanted[place] for place in places], sides, names)
        for row, place in enumerate(places):
            own = {name: part[row : row + 1] for name, part in parts.items()}
            refused = [*split[place][1], *(text for text in queries[place].without if text.strip())]
            found[place] = _combine_query_parts(model, gallery, wanted[place], own, refused, notes[row])
    return [found[place] for place in range(len(queries))]


def _combine_query_parts(
    model: SearchModel,
    gallery: Gallery,
    ask: SearchQuery,
    parts: dict[str, Tensor],
    refused: Sequence[str],
    notes: list[str],
) -> EmbeddedQuery:
    if ask.like or ask.unlike:
        parts = {**parts, **rocchio_steps(gallery.get_vectors(ask.like), gallery.get_vectors(ask.unlike))}
    if not parts.keys() - {"unlike"}:
        only = (
            "It only says what not to find." if refused or ask.unlike else "Give a sketch, a text or a photo."
        )
        raise QueryError("the query is empty", only)
    query = sum_query_parts(parts)
    if refused:
        step = negation_step(query.vector, model.embed_text(refused).mean(0, keepdim=True))
        query = sum_query_parts({**query.parts, "without": step})
        notes = [*notes, f"moved away from: {'; '.join(refused)}; such photos score lower, none is kept out"]
    texts = [text for text in (ask.text, *refused) if text]
    return EmbeddedQuery(query, (*notes, *model.text_notes(texts)))


def _given_modalities(ask: SearchQuery) -> tuple[str, ...]:
    """The sides that are given and weigh something."""
    given = [
        side for side, value in zip(QUERY_MODALITIES, (ask.sketch, ask.text, ask.photo), strict=True) if value
    ]
    weights = dict(ask.weights)
    chosen = tuple(side for side in given if weights.get(side, 1.0))
    if given and not chosen:
        raise QueryError("every part of the query weighs 0", "Give one of them a weight above 0.")
    return chosen


def _embed_positive_parts(
    model: SearchModel, asks: Sequence[SearchQuery], sides: tuple[str, ...], names: Sequence[str]
) -> tuple[list[list[str]], dict[str, Float[Tensor, "b d"]]]:
    """What is asked for, as parts whose sum has length about 1, and doubts; all asks have these sides.

    `names` precede what is said of each one's pictures.
    """
    weights = dict(asks[0].weights)
    notes: list[list[str]] = [[] for _ in asks]
    parts: dict[str, Tensor] = {}
    texts, fit = [ask.text for ask in asks], model.encoder.preprocess
    if "sketch" in sides:
        drawings = _load_each_image(
            [ask.sketch for ask in asks], names, lambda it: it.load_sketch(fit.size, fit.fit)
        )
        sketches, notes = [pixels for pixels, _ in drawings], [doubts for _, doubts in drawings]
        both = (weights.get("sketch", 1.0), weights.get("text", 1.0)) if weights else None
        parts = _embed_in_batches(
            sketches, lambda images, part: _embed_sketch_parts(model, images, texts[part], sides, both)
        )
    elif "text" in sides:
        parts = {"text": model.embed_text(texts)}
    if "photo" in sides:
        share = weights.get("photo", 1.0) / sum(weights.get(side, 1.0) for side in sides)
        photos = _load_each_image(
            [ask.photo for ask in asks], names, lambda it: it.load_pixels(fit.size, fit.fit)
        )
        like = _embed_in_batches(
            photos, lambda images, _: {"photo": model.embed_images(images, Domain.PHOTO)}
        )
        parts = {name: (1 - share) * part for name, part in parts.items()} | {"photo": share * like["photo"]}
    return notes, parts


def _embed_sketch_parts(
    model: SearchModel,
    images: Tensor,
    texts: Sequence[str],
    sides: tuple[str, ...],
    weights: tuple[float, float] | None,
) -> dict[str, Tensor]:
    if "text" in sides:
        return model.fuse(images, texts, weights)
    return {"sketch": model.embed_sketch(images)}


def _embed_in_batches(
    pixels: Sequence[Pixels], embed: Callable[[Tensor, slice], dict[str, Tensor]]
) -> dict[str, Float[Tensor, "b d"]]:
    found = []
    for start in range(0, len(pixels), QUERY_BATCH_SIZE):
        part = slice(start, start + QUERY_BATCH_SIZE)
        images = torch.from_numpy(np.stack(pixels[part])).permute(0, 3, 1, 2).float() / 255
        found.append(embed(images, part))
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


LoadedValue = TypeVar("LoadedValue")


def _load_each_image(
    pictures: Sequence[QueryImage | None], names: Sequence[str], found: Callable[[QueryImage], LoadedValue]
) -> list[LoadedValue]:
    """Something of each picture; what is wrong with one is said with its name."""
    values = []
    for it, name in zip(pictures, names, strict=True):
        assert it is not None
        try:
            values.append(found(it))
        except QueryError as error:
            raise QueryError(f"{name}{error.message}", error.hint) from error
    return values


def _check_valid_utf8(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise QueryError(
                f"the text {printable_name(text)[:60]!r} is not valid UTF-8", "Write it in UTF-8."
            ) from error
