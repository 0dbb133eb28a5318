"""Whether drawing or text dominates a query of both: each alone, both, and in conflict."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.evaluation.audits.retrieval_audits import Audit
from ssl_sbir.evaluation.metrics.bootstrap import BOOTSTRAP_DRAWS, percentile_intervals, resampled_means
from ssl_sbir.fusion.calibration import (
    CALIBRATION_TOP_K,
    average_precision_per_query,
    sample_conflicting_indices,
    sketch_top_k_share,
    top_k_indices,
)

SHARE_SWEEP = tuple(step / 10 for step in range(11))
SHARE_TOLERANCE = 0.1  # how far the drawing's share of the top 10 may fall below its configured weight
FuseQueries = Callable[[bool, Sequence[str] | None, float | None], Float[Tensor, "q d"]]


def text_audit(
    fuse: FuseQueries,
    texts: Sequence[str],
    labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    gallery_labels: Int[Tensor, " n"],
    share: float,
    *,
    seed: int = 0,
    draws: int = BOOTSTRAP_DRAWS,
) -> Audit:
    """Whether the text dominates the drawing, and how much each contributes.

    `found`: mean average precision of the drawing, the text, both, and of both with a text of another class, scored
    by the drawing's class and by the text's; with 95 % intervals (bootstrap over queries). `conflict`: with a
    contradicting text, the shares of the top 10 that are of the drawing's class and of the text's class, and the share
    that the drawing keeps (`sketch_top_k_share`). `sweep`: the same over the drawing's weight from 0 to 1. `shapley`:
    each side's share of what both find beyond chance. `gap`: queries by which side ranks a relevant photo first.

    Args:
        fuse: unit query vectors from: whether to use the drawings; texts or None; the drawing's weight, or None for
            the calibrated one.
        texts: one per drawing.
        labels: classes of the drawings.
        gallery: unit vectors of photos.
        gallery_labels: classes of the photos.
        share: the drawing's default weight, 0..1.
        seed: of the assignment of contradicting texts to drawings.
        draws: resamples of the bootstrap.
    """
    other = sample_conflicting_indices(labels, seed)
    wrong, wrong_labels = [texts[index] for index in other.tolist()], labels[other]
    sketch, text = fuse(True, None, None), fuse(False, texts, None)
    wrong_text = text[other]
    both, conflict = fuse(True, texts, None), fuse(True, wrong, None)
    columns = {
        "sketch": average_precision_per_query(sketch, labels, gallery, gallery_labels),
        "text": average_precision_per_query(text, labels, gallery, gallery_labels),
        "both": average_precision_per_query(both, labels, gallery, gallery_labels),
        "conflict, drawing's class": average_precision_per_query(conflict, labels, gallery, gallery_labels),
        "conflict, text's class": average_precision_per_query(
            conflict, wrong_labels, gallery, gallery_labels
        ),
    }
    kept = sketch_top_k_share(conflict, sketch, wrong_text, gallery)
    followed = _followed_class_shares(conflict, gallery, gallery_labels, labels, wrong_labels)
    sides = {"labels": labels, "gallery": gallery, "gallery_labels": gallery_labels}
    facts: dict[str, Any] = {
        "queries": len(labels),
        "share": share,
        "found": _means_with_intervals(columns, seed, draws),
        "conflict": {**followed, "kept": _means_with_intervals({"kept": kept}, seed, draws)["kept"]},
        "sweep": [_sweep_point(fuse, w, texts, wrong, sketch, wrong_text, sides) for w in SHARE_SWEEP],
        "shapley": shapley_shares(columns, labels, gallery_labels),
        "gap": composition_gap(*(_is_first_relevant(q, **sides) for q in (sketch, text, both))),
    }
    mean = float(kept.mean())
    ok = mean >= share - SHARE_TOLERANCE
    summary = (
        f"with a text of another class the drawing keeps {mean:.0%} of the top {CALIBRATION_TOP_K}, "
        f"its weight is {share:.0%}"
    )
    return {"ok": ok, "summary": summary if ok else f"TEXT DECIDES: {summary}", **facts}


def _means_with_intervals(columns: dict[str, Tensor], seed: int, draws: int) -> dict[str, dict[str, float]]:
    table = torch.stack([column.double().cpu() for column in columns.values()], 1)
    spread = percentile_intervals(resampled_means(table, draws, seed))
    return {
        name: {"mean": float(mean), "low": one.low, "high": one.high}
        for name, mean, one in zip(columns, table.mean(0), spread, strict=True)
    }


def _followed_class_shares(
    query: Tensor, gallery: Tensor, gallery_labels: Tensor, labels: Tensor, wrong: Tensor
) -> dict[str, float]:
    """The shares of the top 10 that are of the drawing's class and of the text's class."""
    result_labels = gallery_labels[top_k_indices(query, gallery, CALIBRATION_TOP_K)]
    return {
        "drawing": float((result_labels == labels[:, None]).float().mean()),
        "text": float((result_labels == wrong[:, None]).float().mean()),
    }


def _sweep_point(
    fuse: FuseQueries,
    weight: float,
    texts: Sequence[str],
    wrong: Sequence[str],
    sketch: Tensor,
    wrong_text: Tensor,
    sides: dict[str, Tensor],
) -> dict[str, float]:
    """The figures at one weight of the drawing."""
    kept = sketch_top_k_share(fuse(True, wrong, weight), sketch, wrong_text, sides["gallery"])
    values = average_precision_per_query(fuse(True, texts, weight), **sides)
    return {"share": weight, "mAP": float(values.mean()), "kept": float(kept.mean())}


def shapley_shares(
    columns: dict[str, Tensor], labels: Int[Tensor, " q"], gallery_labels: Int[Tensor, " n"]
) -> dict[str, float]:
    """Each side's part of the mean average precision of both, and its share of what exceeds chance.

    The Shapley value of a game of two players whose empty coalition scores chance (the share of relevant photos): the
    mean of what a side adds when it comes first and when it comes second.
    """
    relevant = gallery_labels.bincount(minlength=int(labels.max()) + 1)[labels]
    chance = float(relevant.double().mean()) / len(gallery_labels)
    sketch, text, both = (float(columns[name].mean()) for name in ("sketch", "text", "both"))
    sketch_value = ((sketch - chance) + (both - text)) / 2
    text_value = ((text - chance) + (both - sketch)) / 2
    total = sketch_value + text_value
    return {
        "chance": chance,
        "sketch": sketch_value,
        "text": text_value,
        "sketch_share": sketch_value / total if total > 0 else 0.5,
    }


def _is_first_relevant(query: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor) -> Tensor:
    return gallery_labels[top_k_indices(query, gallery, 1)[:, 0]] == labels


def composition_gap(sketch: Tensor, text: Tensor, both: Tensor) -> dict[str, float]:
    """The composition gap: which side ranks a relevant photo first, as shares of the queries.

    `one alone`: a single side does; `only both`: neither side does, both together do; `lost`: a single side does, both
    together don't.
    """
    alone = sketch | text
    return {
        "one alone": float(alone.float().mean()),
        "sketch": float(sketch.float().mean()),
        "text": float(text.float().mean()),
        "both": float(both.float().mean()),
        "only both": float((both & ~alone).float().mean()),
        "lost": float((alone & ~both).float().mean()),
    }
