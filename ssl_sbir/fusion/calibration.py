"""Calibrating the weight of a drawing against a text on held-out seen classes."""

import sys
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.fusion.fusion_kinds import CALIBRATION_STEPS
from ssl_sbir.group_means import class_means

MAX_SCORES_AT_ONCE = 1 << 23  # scores of queries with photos in memory
NUM_TRIED_WEIGHTS = 41
CALIBRATION_TOP_K = 10
ONE_SIDED_95_Z = 1.645  # standard errors of a one-sided 95 % confidence limit
CANDIDATE_SHARES = tuple(step / 20 for step in range(1, 20))
MixFunction = Callable[[Tensor, Tensor, float], Tensor]


def sketch_top_k_share(
    query: Float[Tensor, "q d"],
    sketch: Float[Tensor, "q d"],
    text: Float[Tensor, "q d"],
    gallery: Float[Tensor, "n d"],
    k: int = CALIBRATION_TOP_K,
) -> Float[Tensor, " q"]:
    """The drawing's share of each query's top k, among the photos that drawing or text alone also ranks in its top k.

    A photo that both rank there counts half for each; if there is no such photo, the share is a half.

    Args:
        query: fused vectors.
        sketch: vectors of the drawings alone.
        text: vectors of the texts alone.
        gallery: unit vectors of photos.
        k: number of results.
    """
    fused, sketch_top, text_top = (top_k_indices(part, gallery, k) for part in (query, sketch, text))
    from_sketch, from_text = ((fused[:, :, None] == ids[:, None]).any(2) for ids in (sketch_top, text_top))
    by_sketch, by_text, both = (
        some.sum(1).double() for some in (from_sketch, from_text, from_sketch & from_text)
    )
    both = both / 2
    total = by_sketch + by_text - 2 * both
    return torch.where(total > 0, (by_sketch - both) / total.clamp(min=1), 0.5)


def top_k_indices(query: Float[Tensor, "q d"], gallery: Float[Tensor, "n d"], k: int) -> Int[Tensor, "q k"]:
    """The indices of each query's top k photos, computed block by block."""
    k = min(k, len(gallery))
    return torch.cat(
        [(block @ gallery.T).topk(k, dim=1).indices for block in query.split(_query_block_size(gallery))]
    )


def _query_block_size(gallery: Tensor) -> int:
    return max(1, MAX_SCORES_AT_ONCE // max(1, len(gallery)))


def sample_conflicting_indices(labels: Int[Tensor, " q"], seed: int = 0) -> Int[Tensor, " q"]:
    """For each query the index of a random query of another class, whose text contradicts it.

    Raises:
        ValueError: all queries are of one class.
    """
    other = labels[:, None] != labels[None]
    if not other.any(1).all():
        raise ValueError("conflicting texts need at least two classes")
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(other.float(), 1, generator=generator)[:, 0]


def average_precision_per_query(
    query: Float[Tensor, "q d"],
    labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    gallery_labels: Int[Tensor, " n"],
) -> Float[Tensor, " q"]:
    """Average precision of each query over the whole gallery; ties in gallery order."""
    block = _query_block_size(gallery)
    blocks = zip(query.split(block), labels.split(block), strict=True)
    return torch.cat(
        [_average_precision_block(part @ gallery.T, own, gallery_labels) for part, own in blocks]
    )


def _average_precision_block(
    score: Float[Tensor, "b n"], labels: Int[Tensor, " b"], gallery_labels: Int[Tensor, " n"]
) -> Float[Tensor, " b"]:
    order = score.sort(dim=1, descending=True, stable=True).indices
    relevant = (gallery_labels[order] == labels[:, None]).double()
    precision = relevant.cumsum(1) / torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
    return (precision * relevant).sum(1) / relevant.sum(1).clamp(min=1)


def class_spread(photos: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, "d d"]:
    """A factor R of the covariance C = R·Rᵀ of the classes' mean vectors; ‖query·R‖ is the spread of the query's scores.

    Class means, because the first results are decided between classes, not within them. With n classes, 1/n of the mean
    eigenvalue is added to C's diagonal, so that a query orthogonal to all seen classes still has a spread.

    Args:
        photos: unit vectors.
        labels: of the photos, 0 or more.
    """
    _, means = class_means(photos, labels)
    centered = (means - means.mean(0)).double()
    covariance = centered.T @ centered / len(means)
    covariance.diagonal().add_(covariance.trace() / (len(covariance) * len(means)))
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    return (eigenvectors * eigenvalues.clamp(min=0).sqrt()).to(photos.dtype)


def mixing_table(
    mix: MixFunction, sketch: Tensor, text: Tensor, labels: Int[Tensor, " q"], gallery: Tensor, seed: int = 0
) -> Float[Tensor, " steps"]:
    """The weights at which drawings keep a share of at least 0, .05, …, 1 of the top ten against another class's text.

    The share is the lower 95 % confidence limit of its mean over classes, so that it also holds for other classes.

    Args:
        mix: from sketches, texts and a weight to query vectors.
        sketch: unit vectors of drawings.
        text: unit vectors of their own texts.
        labels: classes of the drawings.
        gallery: unit vectors of photos.
        seed: of the choice of contradicting texts.
    """
    wrong = text[sample_conflicting_indices(labels, seed)]
    tried = torch.linspace(0, 1, NUM_TRIED_WEIGHTS)
    shares = torch.stack(
        [_sketch_share_lower_bound(mix, sketch, wrong, float(weight), gallery, labels) for weight in tried]
    ).cpu()
    shares = shares.cummax(0).values
    if shares[-1] <= shares[0]:
        print("the drawing's weight isn't calibrated: too few photos", file=sys.stderr)
        return torch.linspace(0, 1, CALIBRATION_STEPS)
    shares = (shares - shares[0]) / (shares[-1] - shares[0]).clamp(min=1e-9)
    wanted = torch.linspace(0, 1, CALIBRATION_STEPS, dtype=torch.float64)
    upper = torch.searchsorted(shares, wanted).clamp(1, NUM_TRIED_WEIGHTS - 1)
    low, high = shares[upper - 1], shares[upper]
    within = ((wanted - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    table = tried[upper - 1] + within.float() * (tried[upper] - tried[upper - 1])
    table[0], table[-1] = 0.0, 1.0
    return table


def _sketch_share_lower_bound(
    mix: MixFunction, sketch: Tensor, text: Tensor, weight: float, gallery: Tensor, labels: Tensor
) -> Tensor:
    """The lower confidence limit of the drawings' mean share."""
    # In a small gallery every photo would be in the top ten.
    k = min(CALIBRATION_TOP_K, max(1, len(gallery) // 3))
    share = sketch_top_k_share(mix(sketch, text, weight), sketch, text, gallery, k)
    _, means = class_means(share[:, None], labels.to(share.device))
    if len(means) < 2:
        return means.mean()
    return means.mean() - ONE_SIDED_95_Z * means.std(correction=1) / len(means) ** 0.5


def best_sketch_share(
    fuse_at_share: Callable[[float], Tensor],
    labels: Int[Tensor, " q"],
    gallery: Tensor,
    gallery_labels: Int[Tensor, " n"],
    shares: Sequence[float] = CANDIDATE_SHARES,
) -> float:
    """The drawing's share with the highest mean average precision."""
    means = [
        float(average_precision_per_query(fuse_at_share(s), labels, gallery, gallery_labels).mean())
        for s in shares
    ]
    return shares[max(range(len(shares)), key=means.__getitem__)]
