"""The published definitions, one query at a time, for readers to check by eye."""

import itertools
import math

import numpy as np

K = 200


def cosine(query, gallery):
    return [float(query @ item / (np.linalg.norm(query) * np.linalg.norm(item))) for item in gallery]


def nearness(query, gallery):
    return [-math.dist(query, item) for item in gallery]


def hit_list(scores, relevant):
    """Relevance in the order of the scores, ties in gallery order."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    return [relevant[item] for item in order]


def plain(hits):
    """The precision at each relevant rank, and 0 elsewhere."""
    found, values = 0, []
    for rank, hit in enumerate(hits, start=1):
        found += hit
        values.append(found / rank if hit else 0.0)
    return values


def voc(hits):
    """The highest precision at a rank or later, at each relevant rank (VOCap of SAKE's released code)."""
    precision, found = [], 0
    for rank, hit in enumerate(hits, start=1):
        found += hit
        precision.append(found / rank)
    for i in reversed(range(len(hits) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return [value if hit else 0.0 for value, hit in zip(precision, hits, strict=True)]


def grouped(scores, relevant):
    """scikit-learn's average precision: Σ (recall step) · precision at each distinct score."""
    total, before = 0.0, 0
    for score in sorted(set(scores), reverse=True):
        retrieved = [hit for s, hit in zip(scores, relevant, strict=True) if s >= score]
        total += (sum(retrieved) - before) * sum(retrieved) / len(retrieved)
        before = sum(retrieved)
    return total / max(1, before)


def cut(scores, relevant, k):
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))[:k]
    return [scores[i] for i in order], [relevant[i] for i in order]


def orders(scores, relevant):
    """The relevance lists of all orders of tied items, each as likely as the others."""
    groups = []
    for score in sorted(set(scores), reverse=True):
        groups.append([hit for s, hit in zip(scores, relevant, strict=True) if s == score])
    for choice in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield [hit for group in choice for hit in group]


def expected(scores, relevant, measure):
    values = [measure(hits) for hits in orders(scores, relevant)]
    return sum(values) / len(values)


def preset(name, scores, relevant):
    """All metrics of a preset that looks at the whole gallery; None without a relevant item."""
    n, r = len(relevant), sum(relevant)
    if r == 0:
        return None
    hits = hit_list(scores, relevant)
    if name == "standard":
        return {
            "mAP@all": sum(plain(hits)) / r,
            "mAP@200": sum(plain(hits)[:K]) / min(K, r),
            "P@100": sum(hits[:100]) / 100,
            "P@200": sum(hits[:200]) / 200,
        }
    if name in ("sake", "zse", "zse-strided"):
        values = {"mAP@all": sum(voc(hits)) / r, "mAP@200": sum(voc(hits[:K])) / min(K, r)}
        for k in (100, 200):
            top = min(k, n) if name == "sake" else min(k, r)
            values[f"P@{k}"] = sum(hits[:top]) / top
        return values
    if name in ("sempcyc", "doodle2search"):
        values = {"mAP@all": grouped(scores, relevant), "mAP@200": grouped(*cut(scores, relevant, K))}
        for k in (100, 200):
            if name == "sempcyc":
                values[f"P@{k}"] = sum(hits[:k]) / min(k, n)
            else:
                values[f"P@{k}"] = hits[k] if k < n else math.nan
        return values
    if name == "yelamarthi":
        return {
            "mAP@200": sum(plain(hits)[:K]) / K,
            "P@100": sum(hits[:100]) / 100,
            "P@200": sum(hits[:200]) / 200,
        }
    assert name == "clip-at"
    return {"mAP@all": sum(plain(hits)) / r}
