"""Checks that say whether the figures can be believed, and how varied the answers are."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.group_means import group_means
from ssl_sbir.ranking.ranking import rank_gallery
from ssl_sbir.ranking.similarity import distinct_rows

Audit = dict[str, Any]
RowEmbedder = Callable[[Manifest, npt.NDArray[np.int64]], Float[Tensor, "n d"]]
DIVERSITY_QUERIES_PER_CLASS = 20  # queries of a class whose answers are compared
LEAK_COLUMN_BLOCK = 32  # features looked at at once
WITHIN_CLASS_VARIANCE_LIMIT = (
    1e-3  # share of a feature's variance inside classes below which it names the class
)


def diversity_audit(
    query: Float[Tensor, "q d"],
    labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    k: int = 100,
) -> Audit:
    """Whether different sketches of a class bring different photos.

    `shared`: mean share of their first k that two queries of a class have in common; `jaccard`: of the union;
    `covered`: share of the gallery in any of the lists; `spread`: mean cosine distance between photos of a list.
    """
    chosen = _sample_evenly_per_class(labels, DIVERSITY_QUERIES_PER_CLASS)
    k = min(k, len(gallery))
    ids = rank_gallery(query[chosen], gallery, k).ids
    common = torch.cat(
        [_count_shared_items(ids[labels[chosen] == label]) for label in labels[chosen].unique()]
    )
    shared = float((common / k).mean()) if len(common) else None
    jaccard = float((common / (2 * k - common)).mean()) if len(common) else None
    found, place = ids.unique(return_inverse=True)
    sums = F.embedding_bag(place, F.normalize(gallery[found].float(), dim=1), mode="sum")
    inside = (sums.square().sum(1) - k) / max(1, k * (k - 1))
    told = (
        "no class has two queries"
        if shared is None
        else f"sketches of a class share {shared:.0%} of their top {k}"
    )
    return {
        "ok": None,
        "summary": told,
        "k": k,
        "queries": len(chosen),
        "shared": shared,
        "jaccard": jaccard,
        "covered": len(found) / len(gallery),
        "spread": float((1 - inside).mean()),
    }


def _count_shared_items(ids: Int[Tensor, "s k"]) -> Float[Tensor, " pairs"]:
    """How many items each two of some lists have in common."""
    found, place = ids.unique(return_inverse=True)
    lists = torch.zeros(len(ids), len(found), device=ids.device).scatter_(1, place, 1)
    one, other = torch.triu_indices(len(ids), len(ids), 1, device=ids.device)
    return (lists @ lists.T)[one, other]


def label_in_features_audit(gallery: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Audit:
    """Whether some feature of the gallery is (nearly) the same throughout each class, as an appended label is."""
    counts = torch.bincount(labels)
    if (counts > 0).sum() < 2 or len(labels) < 3 * (counts > 0).sum():
        return {"ok": None, "summary": "too few photos a class to look for labels in the features"}
    within, total, whole = torch.cat(
        [
            _feature_sums_of_squares(some.double(), labels, len(counts))
            for some in gallery.split(LEAK_COLUMN_BLOCK, 1)
        ],
        1,
    )
    suspect = (
        ((within < WITHIN_CLASS_VARIANCE_LIMIT * total) & (total > 1e-9 * whole.sum()))
        .nonzero()
        .squeeze(1)
        .tolist()
    )
    if not suspect:
        return {"ok": True, "summary": "no leak", "features": []}
    return {
        "ok": False,
        "summary": f"LEAK: {len(suspect)} gallery feature(s) name the class (first: number {suspect[0]})",
        "features": suspect,
    }


def _feature_sums_of_squares(
    values: Float[Tensor, "n c"], labels: Int[Tensor, " n"], classes: int
) -> Float[Tensor, "3 c"]:
    """Of each feature: its sum of squares about the mean of its class, about the mean of all, and about 0."""
    within = (values - group_means(values, labels, classes)[labels]).square().sum(0)
    return torch.stack([within, (values - values.mean(0)).square().sum(0), values.square().sum(0)])


def label_leak_audit(
    embed: RowEmbedder, manifest: Manifest, rows: npt.NDArray[np.int64], seed: int = 0
) -> Audit:
    """Whether gallery vectors move when the gallery is given wrong labels, instances and texts: they must not."""
    told, blind = embed(manifest, rows), embed(_manifest_with_wrong_labels(manifest, rows, seed), rows)
    moved = int(((told - blind).abs().amax(1) > 1e-4 * told.abs().amax()).sum())
    if moved:
        summary = f"LEAK: {moved} of {len(rows)} gallery vectors moved when their labels changed"
    else:
        summary = "no leak"
    return {"ok": moved == 0, "summary": summary, "photos": len(rows), "moved": moved}


def copy_audit(items: Tensor, what: str) -> Audit:
    """How many of some vectors are exact copies of an earlier one."""
    kinds, _ = distinct_rows(items)
    count = len(items) - len(kinds)
    summary = f"{count:,} of {len(items):,} {what} are exact copies" if count else f"no copies among {what}"
    return {"ok": count == 0, "summary": summary, "copies": count}


def integrity_verdict(audits: dict[str, Audit]) -> str:
    """One sentence: what failed, or that nothing did; before it, that training saw the images of the test."""
    failed = [audit["summary"] for audit in audits.values() if audit["ok"] is False]
    noted = [audit["summary"] for audit in audits.values() if audit.get("transductive")]
    if failed:
        return " · ".join([f"INTEGRITY AUDIT FAILED: {'; '.join(failed)}", *noted])
    checked = [name for name, audit in audits.items() if audit["ok"]]
    passed = f"integrity audit passed: {', '.join(checked)}" if checked else "integrity was not audited"
    return " · ".join([*noted, passed])


def _sample_evenly_per_class(labels: Int[Tensor, " q"], most: int) -> Int[Tensor, " s"]:
    """Up to `most` queries of each class, evenly spread over it."""
    order = torch.argsort(labels, stable=True)
    _, count = labels[order].unique_consecutive(return_counts=True)
    place = torch.arange(len(order), device=labels.device) - (count.cumsum(0) - count).repeat_interleave(
        count
    )
    size = count.repeat_interleave(count)
    taken = size.clamp(max=most)
    return order[(place * taken) // size != ((place - 1) * taken) // size]


def _manifest_with_wrong_labels(manifest: Manifest, rows: npt.NDArray[np.int64], seed: int) -> Manifest:
    """The manifest with another label and text for each of some rows, and their instances permuted."""
    label, instance = np.array(manifest.label), np.array(manifest.instance)
    label[rows] = (label[rows] + 1) % max(1, len(manifest.classes))
    instance[rows] = np.random.default_rng(seed).permutation(instance[rows])
    texts = StringColumn.from_strings(f"wrong {number}" for number in range(len(manifest.texts)))
    return replace(manifest, label=label, instance=instance, texts=texts)
