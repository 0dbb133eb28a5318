"""Times the blockwise evaluation against a per-query numpy loop and against a matrix product with a full sort.

    python scripts/bench_evaluation.py                     # the size of sketchy-sake-25: 15,229 × 17,101 × 512
    python scripts/bench_evaluation.py --size quickdraw    # 92,291 × 54,151 × 64, without the references

All presets together on synthetic unit vectors, in one run on the same threads; the references run on a sample of the
queries (`--sample`) and are scaled to all of them. The loop computes the same definitions query by query, sharing one
product, one distance and one sort per similarity between the presets; its means must equal those of the blockwise
evaluation on the sample. Takes about two minutes on two cores. Peak memory is that of the blockwise evaluation, which
runs first.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.spatial.distance import cdist

from ssl_sbir.evaluation.metrics.blockwise import compute_query_values
from ssl_sbir.evaluation.metrics.protocols import resolve_protocols
from ssl_sbir.evaluation.metrics.query_and_gallery_views import sample_one_photo_per_query

LabeledFeatures = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
DATA_SIZES = {
    "sketchy": (15_229, 17_101, 512, 25),
    "quickdraw": (92_291, 54_151, 64, 30),
    "small": (1_000, 2_000, 64, 25),
}
TOP_K = 200
ResultType = TypeVar("ResultType")
FeatureTensor = torch.Tensor


def synthetic_features(
    queries: int, items: int, width: int, classes: int
) -> tuple[FeatureTensor, FeatureTensor, FeatureTensor, FeatureTensor]:
    """Unit vectors around class centres, and labels in class order, as a data set lists them."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, width, generator=draw)
    sides: list[FeatureTensor] = []
    for count in (queries, items):
        labels = torch.randint(classes, (count,), generator=draw).sort().values
        features = torch.randn(count, width, generator=draw).add_(centres[labels], alpha=0.3)
        sides += [features.div_(features.norm(dim=1, keepdim=True)), labels]
    return sides[0], sides[1], sides[2], sides[3]


def precision_sum(hits: np.ndarray) -> float:
    """The sum of precisions at the relevant ranks."""
    indices = np.flatnonzero(hits)
    return float((np.arange(1, len(indices) + 1) / (indices + 1)).sum())


def voc_precision_sum(hits: np.ndarray) -> float:
    """The same under the VOC envelope."""
    indices = np.flatnonzero(hits)
    precision = np.arange(1, len(indices) + 1) / (indices + 1)
    return float(np.maximum.accumulate(precision[::-1]).sum())


def grouped_precision_sum(hits: np.ndarray, scores: np.ndarray) -> float:
    """The same with tied scores grouped."""
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    found = hits.cumsum()[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum())


def query_metrics(
    cosine: np.ndarray, near: np.ndarray, relevant: np.ndarray, sampled: np.ndarray, strided: bool
) -> dict[str, dict[str, float]]:
    """All presets of one query."""
    r, n = int(relevant.sum()), len(relevant)
    order = np.argsort(-cosine)
    hits = relevant[order]
    p100, p200 = hits[:100].sum(), hits[:TOP_K].sum()
    found = {
        "standard": {
            "mAP@all": precision_sum(hits) / r,
            "mAP@200": precision_sum(hits[:TOP_K]) / min(TOP_K, r),
            "P@100": p100 / 100,
            "P@200": p200 / TOP_K,
        },
        "sake": {
            "mAP@all": voc_precision_sum(hits) / r,
            "mAP@200": voc_precision_sum(hits[:TOP_K]) / min(TOP_K, r),
            "P@100": p100 / min(100, n),
            "P@200": p200 / min(TOP_K, n),
        },
        "yelamarthi": {
            "mAP@200": precision_sum(hits[:TOP_K]) / TOP_K,
            "P@100": p100 / 100,
            "P@200": p200 / TOP_K,
        },
    }
    found["zse"] = {
        **found["sake"],
        "P@100": hits[: min(100, r)].mean(),
        "P@200": hits[: min(TOP_K, r)].mean(),
    }
    if strided:
        few = relevant[::10]
        some = few[np.argsort(-cosine[::10])]
        found["zse-strided"] = {
            "mAP@all": voc_precision_sum(some) / few.sum(),
            "mAP@200": voc_precision_sum(some[:TOP_K]) / min(TOP_K, few.sum()),
        }
    order = np.argsort(-near)
    hits, scores = relevant[order], near[order]
    ap200 = grouped_precision_sum(hits[:TOP_K], scores[:TOP_K]) / max(1, hits[:TOP_K].sum())
    found["sempcyc"] = {
        "mAP@all": grouped_precision_sum(hits, scores) / r,
        "mAP@200": ap200,
        "P@100": hits[:100].mean(),
        "P@200": hits[:TOP_K].mean(),
    }
    found["doodle2search"] = {
        "mAP@all": found["sempcyc"]["mAP@all"],
        "mAP@200": ap200,
        "P@100": hits[100],
        "P@200": hits[TOP_K],
    }
    own = relevant[sampled]
    found["clip-at"] = {"mAP@all": precision_sum(own[np.argsort(-cosine[sampled])]) / own.sum()}
    return found


def evaluate_per_query(
    data: tuple[FeatureTensor, FeatureTensor, FeatureTensor, FeatureTensor],
    chosen: np.ndarray,
    distances: bool,
) -> list[dict[str, dict[str, float]]]:
    """The per-query loop; distances by `cdist` as the released codes do, or from the cosines."""
    query, ql, gallery, gl = (side.numpy() for side in data)
    drawn = sample_one_photo_per_query(data[1], data[3], 0).sort().values.numpy()
    wide = gallery.astype(np.float64) if distances else gallery
    found = []
    for q in chosen:
        cosine = gallery @ query[q]
        d = (
            cdist(query[q : q + 1].astype(np.float64), wide)[0]
            if distances
            else np.sqrt(np.maximum(2 - 2 * cosine, 0))
        )
        found.append(query_metrics(cosine, np.exp(-d), gl == ql[q], drawn, q % 20 == 0))
    return found


def multiply_and_sort(
    data: tuple[FeatureTensor, FeatureTensor, FeatureTensor, FeatureTensor], chosen: int
) -> None:
    """A matrix product and a full sort of each row, 256 queries at a time."""
    query, _, gallery, _ = data
    for part in query[:chosen].split(256):
        (part @ gallery.T).argsort(dim=1, descending=True)


def time_call(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds on the wall, seconds of processor time, and the result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - start, time.process_time() - cpu, result


def largest_mean_difference(
    values: dict[str, dict[str, torch.Tensor]], chosen: np.ndarray, slow: list[dict[str, dict[str, float]]]
) -> float:
    """The largest difference between the two implementations' means over the sample.

    Doodle2Search's precision is excluded: it is the relevance of one rank, which the last bit of a score can change.
    """
    gaps = []
    for name, metrics in values.items():
        if name == "doodle2search":
            metrics = {metric: value for metric, value in metrics.items() if metric.startswith("mAP")}
        rows = [(q, one[name]) for q, one in zip(chosen, slow, strict=True) if name in one]
        for metric in metrics.keys() & (rows[0][1].keys() if rows else ()):
            mean = np.mean([one[metric] for _, one in rows])
            gaps.append(abs(float(metrics[metric][[q for q, _ in rows]].mean()) - mean))
    return float(max(gaps))


def main() -> None:
    """Prints the timings, and with `--json` one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=DATA_SIZES, default="sketchy")
    parser.add_argument(
        "--sample", type=int, default=600, help="queries the references run on; 0 for all of them"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1, help="number of timed runs; the best counts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, queries = synthetic_features(*DATA_SIZES[options.size]), DATA_SIZES[options.size][0]
    runs = [
        time_call(lambda: compute_query_values(*data, protocols=resolve_protocols()))
        for _ in range(options.repeat)
    ]
    best = min(runs, key=lambda run: run[0])
    facts: dict[str, Any] = {"size": DATA_SIZES[options.size][:3], "threads": options.threads}
    facts |= {"engine_s": best[0], "engine_cpu_s": best[1]}
    unit = 1e9 if sys.platform == "darwin" else 1e6
    facts["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if options.size != "quickdraw":
        facts |= measure_references(data, queries, options.sample or queries, best)
    lines = [f"{name:32} {v:.4g}" if isinstance(v, float) else f"{name:32} {v}" for name, v in facts.items()]
    print(json.dumps(facts) if options.json else "\n".join(lines))


def measure_references(
    data: LabeledFeatures, queries: int, sample: int, engine: tuple[float, float, Any]
) -> dict[str, Any]:
    """Times of the loop and of the product and sort, scaled to all queries, and how the evaluation compares."""
    count = min(queries, sample)
    # in runs of 20, so that zse-strided uses the same share of the sample as of all queries
    chosen = np.flatnonzero(np.arange(queries) // 20 % max(1, queries // count) == 0)
    facts: dict[str, Any] = {"sample": len(chosen)}
    scale = queries / len(chosen)
    for name, distances in (("loop", True), ("loop_without_distances", False)):
        wall, cpu, slow = time_call(partial(evaluate_per_query, data, chosen, distances))
        facts |= {f"{name}_s": wall * scale, f"{name}_cpu_s": cpu * scale}
    facts["largest_difference"] = largest_mean_difference(engine[2], chosen, slow)
    rows = max(256, count // 256 * 256)
    wall, cpu, _ = time_call(partial(multiply_and_sort, data, rows))
    facts |= {"product_and_sort_s": wall * queries / rows, "product_and_sort_cpu_s": cpu * queries / rows}
    facts["times_faster_than_loop"] = facts["loop_s"] / engine[0]
    facts["share_of_product_and_sort"] = engine[0] / facts["product_and_sort_s"]
    facts["share_of_its_processor_time"] = engine[1] / facts["product_and_sort_cpu_s"]
    return facts


if __name__ == "__main__":
    main()
