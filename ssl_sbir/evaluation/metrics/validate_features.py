"""Features and labels that can be evaluated, or the reason why they can't."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError


@dataclass(frozen=True)
class RetrievalFeatures:
    """Queries and a gallery whose features are finite, not zero and of one width.

    Attributes:
        query: [q, d].
        query_labels: [q] indices into `classes`.
        gallery: [n, d].
        gallery_labels: [n] likewise.
        classes: names of all labels that occur.
    """

    query: Float[Tensor, "q d"]
    query_labels: Int[Tensor, " q"]
    gallery: Float[Tensor, "n d"]
    gallery_labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    @property
    def classes_without_photos(self) -> tuple[str, ...]:
        """Classes that are asked for and that no gallery item has."""
        there = torch.isin(self.query_labels.unique(), self.gallery_labels)
        return tuple(self.classes[label] for label in self.query_labels.unique()[~there].tolist())


def validate_features(
    query: Any, query_labels: Any, gallery: Any, gallery_labels: Any, classes: Sequence[str] | None = None
) -> RetrievalFeatures:
    """The features as tensors, labels as indices into the names of the classes that occur.

    Args:
        query: [q, d] numbers; arrays, tensors or lists.
        query_labels: [q] integers, or names.
        gallery: [n, d].
        gallery_labels: [n] likewise.
        classes: the name of each integer label; the integers themselves where None.

    Raises:
        EvaluationError: names the side and row, and what was found.
    """
    q, g = validate_matrix(query, "query"), validate_matrix(gallery, "gallery")
    if q.shape[1] != g.shape[1]:
        raise EvaluationError(
            f"query has {q.shape[1]} features a row, gallery has {g.shape[1]}",
            "Both must come from the same encoder.",
        )
    if len(g) < 2:
        raise EvaluationError(
            f"gallery holds {len(g)} item: there is nothing to rank", "A gallery needs two items or more."
        )
    ql, gl = (
        _validate_labels(query_labels, len(q), "query"),
        _validate_labels(gallery_labels, len(g), "gallery"),
    )
    values, places = np.unique(np.concatenate([ql, gl]), return_inverse=True)
    names = tuple(_label_name(value, classes) for value in values)
    compact = torch.from_numpy(places.reshape(-1).astype(np.int64)).to(q.device)
    return RetrievalFeatures(q, compact[: len(q)], g.to(q.device), compact[len(q) :], names)


def validate_matrix(values: Any, side: str, *, allow_zeros: bool = False) -> Float[Tensor, "rows width"]:
    """Features of one side as a table of finite numbers; floats, on the device they were on.

    Args:
        values: one row a picture.
        side: what they are, for the error.
        allow_zeros: whether a row may be 0: it has no direction, but a code.

    Raises:
        EvaluationError: they are none, or a row is NaN, infinite or 0; says which row.
    """
    try:
        matrix = torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvaluationError(f"{side}: not a table of numbers ({error})") from error
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise EvaluationError(
            f"{side} has shape {list(matrix.shape)}", "Give one row a picture and one column a feature."
        )
    matrix = matrix if matrix.is_floating_point() else matrix.float()
    for start in range(0, len(matrix), 1 << 16):
        _check_finite_nonzero(matrix[start : start + (1 << 16)], start, side, allow_zeros)
    return matrix


def _check_finite_nonzero(part: Tensor, start: int, side: str, zeros: bool) -> None:
    for bad, what in (
        (~part.isfinite().all(1), "NaN or infinite features"),
        ((part == 0).all(1), "only zeros"),
    ):
        if bad.any() and not (zeros and what == "only zeros"):
            rows = (bad.nonzero().squeeze(1) + start).tolist()
            more = f" and {len(rows) - 1} rows after it" if len(rows) > 1 else ""
            raise EvaluationError(
                f"{side} row {rows[0]}{more} has {what}",
                "Find out what the encoder made of that picture, or leave it out on purpose.",
            )


def _validate_labels(values: Any, rows: int, side: str) -> np.ndarray:
    labels = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if labels.ndim != 1 or len(labels) != rows:
        raise EvaluationError(
            f"{side}_labels has shape {list(labels.shape)}, {side} has {rows} rows", "Give one label a row."
        )
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind in "US" or (labels.dtype.kind == "O" and all(isinstance(v, str) for v in labels)):
        return labels.astype(str)
    raise EvaluationError(
        f"{side}_labels are {labels.dtype}", "Labels are integers, or names given as a list of strings."
    )


def _label_name(value: Any, classes: Sequence[str] | None) -> str:
    if classes is None or isinstance(value, str):
        return str(value)
    if not 0 <= int(value) < len(classes):
        raise EvaluationError(
            f"label {value} has no name: there are {len(classes)} classes",
            "Labels count from 0; name every class.",
        )
    return classes[int(value)]
