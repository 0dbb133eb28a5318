"""Validation of features and labels before an evaluation."""

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
    """Queries and a gallery whose features are finite, nonzero and of the same width.

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
        """Classes with queries but no gallery item."""
        labels = self.query_labels.unique()
        has_photos = torch.isin(labels, self.gallery_labels)
        return tuple(self.classes[label] for label in labels[~has_photos].tolist())


def validate_features(
    query: Any, query_labels: Any, gallery: Any, gallery_labels: Any, classes: Sequence[str] | None = None
) -> RetrievalFeatures:
    """The features as tensors, labels as indices into the names of the classes that occur.

    Args:
        query: [q, d] numbers; arrays, tensors or lists.
        query_labels: [q] integers, or names.
        gallery: [n, d].
        gallery_labels: [n] likewise.
        classes: the name of each integer label; the integers themselves if None.

    Raises:
        EvaluationError: features or labels are invalid; names the side, row and cause.
    """
    q, g = validate_matrix(query, "query"), validate_matrix(gallery, "gallery")
    if q.shape[1] != g.shape[1]:
        raise EvaluationError(
            f"query has {q.shape[1]} features per row, gallery has {g.shape[1]}",
            "Both must come from the same encoder.",
        )
    if len(g) < 2:
        raise EvaluationError(
            f"gallery holds {len(g)} item: nothing to rank", "A gallery needs two items or more."
        )
    ql = _validate_labels(query_labels, len(q), "query")
    gl = _validate_labels(gallery_labels, len(g), "gallery")
    values, indices = np.unique(np.concatenate([ql, gl]), return_inverse=True)
    names = tuple(_label_name(value, classes) for value in values)
    compact = torch.from_numpy(indices.reshape(-1).astype(np.int64)).to(q.device)
    return RetrievalFeatures(q, compact[: len(q)], g.to(q.device), compact[len(q) :], names)


def validate_matrix(values: Any, side: str, *, allow_zeros: bool = False) -> Float[Tensor, "rows width"]:
    """Features of one side as a matrix of finite floats, on the device they were on.

    Args:
        values: one row per image.
        side: name of the side in errors.
        allow_zeros: whether a row may be all zeros: it has no direction, but a binary code.

    Raises:
        EvaluationError: it isn't a matrix, or a row is NaN, infinite or all zeros; names the row.
    """
    try:
        matrix = torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvaluationError(f"{side}: not a matrix of numbers ({error})") from error
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise EvaluationError(
            f"{side} has shape {list(matrix.shape)}", "Give one row per image and one column per feature."
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
                "Check the encoder's features of that image, or leave the image out.",
            )


def _validate_labels(values: Any, rows: int, side: str) -> np.ndarray:
    labels = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if labels.ndim != 1 or len(labels) != rows:
        raise EvaluationError(
            f"{side}_labels has shape {list(labels.shape)}, {side} has {rows} rows", "Give one label per row."
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
