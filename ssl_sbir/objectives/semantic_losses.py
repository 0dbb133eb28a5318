"""What class names mean, as tensors: their similarity, their vectors, and losses that use them."""

import sys
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean

UnknownClasses = Literal["refuse", "neutral"]
TEACHER_CLASSES = 1000


def teacher_similarity(
    spec: str, classes: Sequence[str], teacher_classes: int, unknown: UnknownClasses
) -> Float[Tensor, "seen answers"]:
    """The similarity of each seen class to each of a teacher's ImageNet classes, 0 to 1.

    Args:
        spec: source of similarity, as `ssl_sbir.semantics.load_semantics` takes it.
        classes: the seen classes.
        teacher_classes: how many classes the teacher knows.
        unknown: what becomes of a seen class that the source doesn't know: refused, or similar to nothing.

    Raises:
        ConfigError: the teacher's classes aren't ImageNet's, or a class is unknown and `unknown` refuses it.
    """
    if teacher_classes != TEACHER_CLASSES:
        raise ConfigError(
            f"semantics = '{spec}': the teacher has {teacher_classes} classes, whose names aren't known",
            "Similarity needs a teacher of ImageNet's 1,000 classes, such as efficientnet_lite0.",
        )
    source = _load_source(spec)
    _print_resolution(spec, source.resolved(_teacher_names()), "the teacher's classes")
    rows = _known_rows(
        source, spec, classes, unknown, lambda known: source.similarity(known, _teacher_names())
    )
    resolved = source.resolved(classes)
    alone = [c for c, row in zip(classes, rows, strict=True) if resolved[c] is not None and not row.any()]
    if alone and spec != "none":
        print(f"semantics {spec}: like none of the teacher's classes: {', '.join(alone)}", file=sys.stderr)
    return rows


def class_similarity(
    spec: str, classes: Sequence[str], unknown: UnknownClasses
) -> Float[Tensor, "seen seen"]:
    """The similarity of the seen classes to each other, 0 to 1; 0 where one is unknown, to itself too.

    Raises:
        ConfigError: a class is unknown and `unknown` refuses it.
    """
    source = _load_source(spec)
    rows = _known_rows(source, spec, classes, unknown, lambda known: source.similarity(known, classes))
    resolved = source.resolved(classes)
    known = torch.tensor([resolved[name] is not None for name in classes])
    return torch.where(torch.eye(len(classes), dtype=torch.bool) & known, 1.0, rows)


def class_vectors(spec: str, classes: Sequence[str], unknown: UnknownClasses) -> Float[Tensor, "seen width"]:
    """A unit vector for each seen class: its word vector, or where the source has none, its place among the others.

    From a source of similarities only (a graph), the vectors are those whose inner products come closest to the
    similarities: U sqrt(S) of the matrix A = U S U^T, without its negative eigenvalues (classical scaling).

    Args:
        spec: source of meaning.
        classes: the seen classes.
        unknown: what becomes of a class that the source doesn't know: refused, or a zero vector.

    Raises:
        ConfigError: a class is unknown and `unknown` refuses it.
    """
    source = _load_source(spec)
    if hasattr(source, "vectors"):
        rows = _known_rows(source, spec, classes, unknown, source.vectors)
        return F.normalize(rows.float(), dim=1)
    similarity = class_similarity(spec, classes, unknown)
    values, axes = torch.linalg.eigh((similarity + similarity.T) / 2)
    return F.normalize(axes * values.clamp(min=0).sqrt(), dim=1)


def _load_source(spec: str) -> Any:
    from ssl_sbir.semantics import load_semantics

    return load_semantics(spec)


def _teacher_names() -> Sequence[str]:
    from ssl_sbir.semantics import imagenet_names

    return imagenet_names()


def _print_resolution(spec: str, found: Any, what: str) -> None:
    from ssl_sbir.semantics import describe_resolutions

    for line in describe_resolutions(found):
        print(f"semantics {spec}, {what}: {line}", file=sys.stderr)


def _known_rows(
    source: Any, spec: str, classes: Sequence[str], unknown: UnknownClasses, rows_of: Any
) -> Tensor:
    """A row of values for each class; zeros for one that the source doesn't know, if that is allowed."""
    resolved = source.resolved(classes)
    known = [name for name in classes if resolved.get(name) is not None]
    missing = [name for name in classes if resolved.get(name) is None]
    if not known or (missing and unknown == "refuse"):
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ConfigError(
            f"semantics = '{spec}' doesn't know the class '{missing[0]}'{more}.{did_you_mean(missing[0], known)}",
            "Rename the class, take another source, or let unknown ones be: --set unknown=neutral.",
        )
    _print_resolution(spec, resolved, "seen classes")
    found = rows_of(known)
    rows = torch.zeros(len(classes), found.shape[1], dtype=found.dtype)
    rows[torch.tensor([classes.index(name) for name in known])] = found
    return rows


def semantic_reconstruction(
    reconstructed: Float[Tensor, "b width"], meaning: Float[Tensor, "b width"]
) -> Float[Tensor, ""]:
    """The mean of ½(1 − cos) between what codes recall and their classes' vectors; 0 without images.

    Source: Dey et al., Doodle to Search, CVPR 2019, semantic loss.

    Args:
        reconstructed: what a network made of the codes.
        meaning: the vectors of the classes.
    """
    return (1 - F.cosine_similarity(reconstructed, meaning, dim=1)).sum() / (2 * max(len(reconstructed), 1))


def negative_weights(vectors: Float[Tensor, "seen width"], temperature: float) -> Float[Tensor, "seen seen"]:
    """How often each class serves as the negative of each other: in proportion to exp(−‖v_a − v_b‖² / spread).

    Source: Dey et al., Doodle to Search, CVPR 2019; there the spread is .1, so that nearly all negatives are the
    closest classes'.

    Args:
        vectors: of the classes.
        temperature: large for classes that are all alike, small for the closest ones only.

    Returns:
        Rows that add up to 1, with 0 on the diagonal; all 0 for a class that is alone.
    """
    logits = -torch.cdist(vectors, vectors).square() / temperature
    return logits.fill_diagonal_(-torch.inf).softmax(1).nan_to_num(0)


def sample_negatives(
    label: Int[Tensor, " anchors"],
    candidate: Int[Tensor, " candidates"],
    weights: Float[Tensor, "seen seen"],
) -> Int[Tensor, " anchors"]:
    """For each anchor a candidate of another class, drawn so that classes come as often as their weights say.

    Args:
        label: classes of the anchors.
        candidate: classes of the candidates; -1 is never drawn.
        weights: of each class (column) as a negative of each class (row).

    Returns:
        Places among the candidates; -1 where no candidate is of another class.
    """
    present = torch.bincount(candidate[candidate >= 0], minlength=len(weights)).clamp(min=1)
    share = (weights / present)[label][
        :, candidate.clamp(min=0)
    ] + 1e-12  # of a class, divided among its images
    share = share * ((candidate >= 0) & (candidate[None] != label[:, None]))
    possible = share.sum(1) > 0
    drawn = torch.multinomial(torch.where(possible[:, None], share, 1.0), 1)[:, 0]
    return torch.where(possible, drawn, -1)
