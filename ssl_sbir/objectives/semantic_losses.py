"""Semantics of class names as tensors: similarities, vectors, and losses that use them."""

import sys
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.choices import UnknownClasses
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics import Resolution, Semantics, describe_resolutions, imagenet_names, load_semantics
from ssl_sbir.semantics.vector_source import VectorSemantics

TEACHER_CLASSES = 1000


def teacher_similarity(
    spec: str, classes: Sequence[str], teacher_classes: int, unknown: UnknownClasses
) -> Float[Tensor, "seen answers"]:
    """The similarity of each seen class to each of a teacher's ImageNet classes, 0 to 1.

    Args:
        spec: source of similarity, as in `ssl_sbir.semantics.load_semantics`.
        classes: the seen classes.
        teacher_classes: number of the teacher's classes.
        unknown: how to treat a class missing from the source: refuse it, or give it similarity 0 to all.

    Raises:
        ConfigError: the teacher's classes aren't ImageNet's, or a class is missing and `unknown` is `refuse`.
    """
    if teacher_classes != TEACHER_CLASSES:
        raise ConfigError(
            f"semantics = '{spec}': the teacher has {teacher_classes} classes of unknown names",
            "Similarity needs a teacher with ImageNet's 1,000 classes, such as efficientnet_lite0.",
        )
    source = load_semantics(spec)
    _print_resolution(spec, source.resolve_names(imagenet_names()), "the teacher's classes")
    rows = _known_rows(
        source, spec, classes, unknown, lambda known: source.similarity(known, imagenet_names())
    )
    resolved = source.resolve_names(classes)
    alone = [c for c, row in zip(classes, rows, strict=True) if resolved[c] is not None and not row.any()]
    if alone and spec != "none":
        print(
            f"semantics {spec}: similar to none of the teacher's classes: {', '.join(alone)}", file=sys.stderr
        )
    return rows


def class_similarity(
    spec: str, classes: Sequence[str], unknown: UnknownClasses
) -> Float[Tensor, "seen seen"]:
    """The similarity of the seen classes to each other, 0 to 1; a missing class has 0, also to itself.

    Raises:
        ConfigError: a class is missing and `unknown` is `refuse`.
    """
    source = load_semantics(spec)
    rows = _known_rows(source, spec, classes, unknown, lambda known: source.similarity(known, classes))
    resolved = source.resolve_names(classes)
    known = torch.tensor([resolved[name] is not None for name in classes])
    return torch.where(torch.eye(len(classes), dtype=torch.bool) & known, 1.0, rows)


def class_vectors(spec: str, classes: Sequence[str], unknown: UnknownClasses) -> Float[Tensor, "seen width"]:
    """A unit vector for each seen class: its word vector, or from a graph, an embedding of its similarities.

    From a source that has only similarities, the vectors are those whose inner products approximate them best:
    U sqrt(S) of the matrix A = U S U^T, without its negative eigenvalues (classical scaling).

    Args:
        spec: source of vectors or similarity.
        classes: the seen classes.
        unknown: how to treat a class missing from the source: refuse it, or give it a zero vector.

    Raises:
        ConfigError: a class is missing and `unknown` is `refuse`.
    """
    source = load_semantics(spec)
    if isinstance(source, VectorSemantics):
        rows = _known_rows(source, spec, classes, unknown, source.name_vectors)
        return F.normalize(rows.float(), dim=1)
    similarity = class_similarity(spec, classes, unknown)
    values, axes = torch.linalg.eigh((similarity + similarity.T) / 2)
    return F.normalize(axes * values.clamp(min=0).sqrt(), dim=1)


def _print_resolution(spec: str, resolved: Mapping[str, Resolution | None], what: str) -> None:
    for line in describe_resolutions(resolved):
        print(f"semantics {spec}, {what}: {line}", file=sys.stderr)


def _known_rows(
    source: Semantics,
    spec: str,
    classes: Sequence[str],
    unknown: UnknownClasses,
    rows_of: Callable[[list[str]], Tensor],
) -> Tensor:
    """A row of values for each class; zeros for one missing from the source, if that is allowed."""
    resolved = source.resolve_names(classes)
    known = [name for name in classes if resolved.get(name) is not None]
    missing = [name for name in classes if resolved.get(name) is None]
    if not known or (missing and unknown == "refuse"):
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ConfigError(
            f"semantics = '{spec}' doesn't know the class '{missing[0]}'{more}.{did_you_mean(missing[0], known)}",
            "Rename the class, use another source, or allow missing ones: --set unknown_classes=neutral.",
        )
    _print_resolution(spec, resolved, "seen classes")
    known_rows = rows_of(known)
    rows = torch.zeros(len(classes), known_rows.shape[1], dtype=known_rows.dtype)
    rows[torch.tensor([classes.index(name) for name in known])] = known_rows
    return rows


def semantic_reconstruction(
    reconstructed: Float[Tensor, "b width"], meaning: Float[Tensor, "b width"]
) -> Float[Tensor, ""]:
    """The mean of ½(1 − cos) between predicted vectors and those of the classes; 0 without images.

    Source: Dey et al., Doodle to Search, CVPR 2019, semantic loss.

    Args:
        reconstructed: vectors predicted from the embeddings.
        meaning: vectors of the images' classes.
    """
    return (1 - F.cosine_similarity(reconstructed, meaning, dim=1)).sum() / (2 * max(len(reconstructed), 1))


def negative_weights(vectors: Float[Tensor, "seen width"], temperature: float) -> Float[Tensor, "seen seen"]:
    """The probability of each class as the negative of each other: proportional to exp(−‖v_a − v_b‖² / temperature).

    Source: Dey et al., Doodle to Search, CVPR 2019; there the temperature is .1, so that nearly all negatives are of
    the closest classes.

    Args:
        vectors: vectors of the classes.
        temperature: large for nearly equal probabilities, small for the closest classes only.

    Returns:
        Rows that sum to 1, with 0 on the diagonal; all 0 for a single class.
    """
    logits = -torch.cdist(vectors, vectors).square() / temperature
    return logits.fill_diagonal_(-torch.inf).softmax(1).nan_to_num(0)
