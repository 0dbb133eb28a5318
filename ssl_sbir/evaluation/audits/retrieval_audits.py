"""Audits of features: label leaks, copies, the diversity of the results, and the verdict."""

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
DIVERSITY_QUERIES_PER_CLASS = 20  # queries of a class whose results are compared
LEAK_COLUMN_BLOCK = 32  # features audited at once
WITHIN_CLASS_VARIANCE_LIMIT = 1e-3  # a feature with a smaller share of its variance inside classes is a label


def diversity_audit(
    query: Float[Tensor, "q d"],
    labels: Int[Tensor, " q"],
    gallery: Float[Tensor, "n d"],
    k: int = 100,
) -> Audit:
    """Whether different sketches of a class retrieve different photos.

    `shared`: mean share of the first k that two queries of a class have in common; `jaccard`: the same of the union;
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
    photos, index = ids.unique(return_inverse=True)
    sums = F.embedding_bag(index, F.normalize(gallery[photos].float(), dim=1), mode="sum")
    inside = (sums.square().sum(1) - k) / max(1, k * (k - 1))
    share = f"sketches of a class share {shared or 0:.0%} of their top {k}"
    return {
        "ok": None,
        "summary": "no class has two queries" if shared is None else share,
        "k": k,
        "queries": len(chosen),
        "shared": shared,
        "jaccard": jaccard,
        "covered": len(photos) / len(gallery),
        "spread": float((1 - inside).mean()),
    }


def _count_shared_items(ids: Int[Tensor, "s k"]) -> Float[Tensor, " pairs"]:
    """How many items each pair of lists has in common."""
    items, index = ids.unique(return_inverse=True)
    lists = torch.zeros(len(ids), len(items), device=ids.device).scatter_(1, index, 1)
    one, other = torch.triu_indices(len(ids), len(ids), 1, device=ids.device)
    return (lists @ lists.T)[one, other]


def label_in_features_audit(gallery: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Audit:
    """Whether a feature of the gallery is (nearly) constant within each class, as an appended label is."""
    counts = torch.bincount(labels)
    if (counts > 0).sum() < 2 or len(labels) < 3 * (counts > 0).sum():
        return {"ok": None, "summary": "too few photos per class to look for labels in the features"}
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
        "summary": f"LEAK: {len(suspect)} gallery feature(s) give away the class (first: feature {suspect[0]})",
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
    """Whether gallery vectors change when their labels, instances and texts are replaced by wrong ones: they must not."""
    true, wrong = embed(manifest, rows), embed(_manifest_with_wrong_labels(manifest, rows, seed), rows)
    moved = int(((true - wrong).abs().amax(1) > 1e-4 * true.abs().amax()).sum())
    if moved:
        summary = f"LEAK: {moved} of {len(rows)} gallery vectors changed with their labels"
    else:
        summary = "no leak"
    return {"ok": moved == 0, "summary": summary, "photos": len(rows), "moved": moved}


def copy_audit(items: Tensor, what: str) -> Audit:
    """How many of some vectors are exact copies of an earlier one."""
    distinct, _ = distinct_rows(items)
    count = len(items) - len(distinct)
    summary = f"{count:,} of {len(items):,} {what} are exact copies" if count else f"no copies among {what}"
    return {"ok": count == 0, "summary": summary, "copies": count}


def integrity_verdict(audits: dict[str, Audit]) -> str:
    """One sentence: which audits failed, or that all passed; transductive training is stated first."""
    failed = [audit["summary"] for audit in audits.values() if audit["ok"] is False]
    transductive = [audit["summary"] for audit in audits.values() if audit.get("transductive")]
    if failed:
        return " · ".join([f"INTEGRITY AUDIT FAILED: {'; '.join(failed)}", *transductive])
    passed = [name for name, audit in audits.items() if audit["ok"]]
    verdict = f"integrity audit passed: {', '.join(passed)}" if passed else "integrity was not audited"
    return " · ".join([*transductive, verdict])


def _sample_evenly_per_class(labels: Int[Tensor, " q"], most: int) -> Int[Tensor, " s"]:
    """Up to `most` queries of each class, evenly spread over it."""
    order = torch.argsort(labels, stable=True)
    _, count = labels[order].unique_consecutive(return_counts=True)
    start = (count.cumsum(0) - count).repeat_interleave(count)
    index = torch.arange(len(order), device=labels.device) - start
    size = count.repeat_interleave(count)
    sampled = size.clamp(max=most)
    return order[(index * sampled) // size != ((index - 1) * sampled) // size]


def _manifest_with_wrong_labels(manifest: Manifest, rows: npt.NDArray[np.int64], seed: int) -> Manifest:
    """The manifest with wrong labels and texts for some rows, and their instances permuted."""
    label, instance = np.array(manifest.label), np.array(manifest.instance)
    label[rows] = (label[rows] + 1) % max(1, len(manifest.classes))
    instance[rows] = np.random.default_rng(seed).permutation(instance[rows])
    texts = StringColumn.from_strings(f"wrong {number}" for number in range(len(manifest.texts)))
    return replace(manifest, label=label, instance=instance, texts=texts)
