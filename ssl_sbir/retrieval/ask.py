"""What was asked: any of a drawing, a sentence and a photo, and what of it was liked or refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssl_sbir.errors import QueryError
from ssl_sbir.registry import did_you_mean
from ssl_sbir.retrieval.pictures import Picture, is_strokes, picture

SIDES = ("sketch", "text", "photo")


@dataclass(frozen=True)
class Ask:
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

    sketch: Picture | None = None
    text: str = ""
    photo: Picture | None = None
    weights: tuple[tuple[str, float], ...] = ()
    without: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def refined(
        self,
        text: str = "",
        without: Sequence[str] = (),
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
    ) -> "Ask":
        """The query with more said: a text is added to its text, ids and refusals to its own."""
        return replace(
            self,
            text=", ".join(part for part in (self.text.strip(" ,"), text.strip(" ,")) if part),
            without=(*self.without, *without),
            like=(*self.like, *like),
            unlike=(*self.unlike, *unlike),
        )


def checked_weights(weights: Mapping[str, float | int] | None) -> tuple[tuple[str, float], ...]:
    """The weights as an `Ask` holds them.

    Raises:
        QueryError: an unknown side, or a weight that is negative or not finite.
    """
    for name, value in (weights or {}).items():
        if name not in SIDES:
            raise QueryError(f"weight of '{name}'.{did_you_mean(name, SIDES)}", f"Sides: {', '.join(SIDES)}")
        if not np.isfinite(value) or value < 0:
            raise QueryError(f"weight {name}={value}", "A weight is 0 or more; only their ratio counts.")
    return tuple((name, float(value)) for name, value in (weights or {}).items())


def asks_of(sketch: Any, text: Any, photo: Any, rest: Ask) -> tuple[list[Ask], bool]:
    """The queries that some sketches, texts and photos make, and whether they were given as a batch.

    Args:
        sketch: a picture, a list of them, or None.
        text: a text, a list of them, or None.
        photo: as sketch.
        rest: what all queries share.

    Raises:
        QueryError: lists of different lengths, or something that is no picture.
    """
    sides = [_listed(side) for side in (sketch, text, photo)]
    counts = {len(side) for side in sides if isinstance(side, list)}
    if len(counts) > 1:
        told = " and ".join(map(str, sorted(counts)))
        raise QueryError(f"a batch of {told} queries", "Give lists of one length.")
    rows = [[_at(side, place) for side in sides] for place in range(counts.pop() if counts else 1)]
    asks = [
        replace(
            rest,
            sketch=None if drawn is None else picture(drawn, "sketch"),
            text=told or "",
            photo=None if shot is None else picture(shot, "photo"),
        )
        for drawn, told, shot in rows
    ]
    return asks, any(isinstance(side, list) for side in sides)


def _listed(given: Any) -> Any:
    """A list for a batch, else what was given."""
    return list(given) if isinstance(given, list | tuple) and not is_strokes(given) else given


def _at(side: Any, place: int) -> Any:
    return side[place] if isinstance(side, list) else side
