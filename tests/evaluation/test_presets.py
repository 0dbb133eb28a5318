"""Every preset against a slow loop; the same bits for every block size."""

import math

import numpy as np
import pytest
import slow_definitions as slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from ssl_sbir.evaluation.metrics.blockwise import compute_query_values
from ssl_sbir.evaluation.metrics.measures import AveragePrecision, PrecisionAtK
from ssl_sbir.evaluation.metrics.protocols import PRESETS, EvaluationProtocol, resolve_protocols
from ssl_sbir.evaluation.metrics.query_and_gallery_views import sample_one_photo_per_query

WHOLE = [p for p in PRESETS.values() if p.gallery == "all"]


def signs(rng, rows, width=16):
    """Vectors of ±1 and length 4: their cosines are exact in float32, and many are equal."""
    return torch.from_numpy(rng.choice([-1.0, 1.0], size=(rows, width)).astype(np.float32))


def slow_values(protocol, query, ql, gallery, gl):
    similarity = slow.cosine if protocol.similarity == "cosine" else slow.nearness
    for q, label in zip(query.double().numpy(), ql.tolist(), strict=True):
        scores = [round(s, 9) for s in similarity(q, gallery.double().numpy())]
        yield slow.preset(protocol.name, scores, [int(g == label) for g in gl.tolist()])


def agree(values, expected):
    for row, want in enumerate(expected):
        for name, column in values.items():
            got = float(column[row])
            wanted = math.nan if want is None else want[name]
            assert got == pytest.approx(wanted, abs=1e-9, nan_ok=True), (name, row)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.sampled_from([2, 3, 40, 150, 230]),
    classes=st.integers(1, 6),
    block=st.sampled_from([1, 3, 1000]),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_presets_equal_the_slow_loop(seed, items, classes, block, dtype):
    """Ties, k beyond N, queries with nothing relevant (the gallery may lack a class)."""
    rng = np.random.default_rng(seed)
    query, gallery = signs(rng, 4), signs(rng, items)
    ql, gl = (
        torch.from_numpy(rng.integers(0, classes + 1, 4)),
        torch.from_numpy(rng.integers(0, classes, items)),
    )
    found = compute_query_values(query.to(dtype), ql, gallery.to(dtype), gl, WHOLE, block=block)
    for protocol in WHOLE:
        agree(found[protocol.name], list(slow_values(protocol, query, ql, gallery, gl)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_bits_for_every_block_size(dtype):
    rng = np.random.default_rng(1)
    query = torch.from_numpy(rng.standard_normal((333, 24))).to(dtype)
    gallery = torch.from_numpy(rng.standard_normal((77, 24))).to(dtype)[
        rng.integers(0, 77, 150)
    ]  # with copies
    ql, gl = torch.from_numpy(rng.integers(0, 6, 333)), torch.from_numpy(rng.integers(0, 5, 150))
    whole = compute_query_values(query, ql, gallery, gl, resolve_protocols())
    for block in (1, 7, 64, 10_000):
        for name, values in compute_query_values(
            query, ql, gallery, gl, resolve_protocols(), block=block
        ).items():
            for metric, column in values.items():
                torch.testing.assert_close(column, whole[name][metric], rtol=0, atol=0, equal_nan=True)


def test_mean_average_precision_is_scikit_learns():
    rng = np.random.default_rng(2)
    query, gallery = rng.standard_normal((20, 8)), rng.standard_normal((60, 8))[rng.integers(0, 60, 300)]
    ql, gl = rng.integers(0, 4, 20), rng.integers(0, 4, 300)
    names = ["sempcyc", "standard"]
    tensors = [torch.from_numpy(a) for a in (query, ql, gallery, gl)]
    found = compute_query_values(
        *tensors, [*resolve_protocols(["sempcyc"]), EvaluationProtocol("cosine", "", ties="grouped")]
    )
    for row in range(20):
        distance = [math.dist(query[row], g) for g in gallery]
        cosine = [round(c, 12) for c in slow.cosine(query[row], gallery)]
        for name, scores in (("sempcyc", np.exp(-np.array(distance))), ("cosine", cosine)):
            want = average_precision_score(gl == ql[row], scores)
            assert float(found[name]["mAP@all"][row]) == pytest.approx(want, abs=1e-12)
    assert names


def test_expected_ties_are_the_mean_over_all_orders():
    rng = np.random.default_rng(3)
    measures = {
        "all": (AveragePrecision(ties="expected"), lambda h: sum(slow.plain(h)) / sum(h)),
        "min": (
            AveragePrecision(k=4, over="min(k,R)", ties="expected"),
            lambda h: sum(slow.plain(h)[:4]) / min(4, sum(h)),
        ),
        "k": (AveragePrecision(k=3, over="k", ties="expected"), lambda h: sum(slow.plain(h)[:3]) / 3),
        "hits": (
            AveragePrecision(k=4, over="hits", ties="expected"),
            lambda h: sum(slow.plain(h)[:4]) / max(1, sum(h[:4])),
        ),
        "p": (PrecisionAtK(4, "k", "expected"), lambda h: sum(h[:4]) / 4),
        "r": (PrecisionAtK(5, "min(k,R)", "expected"), lambda h: sum(h[: min(5, sum(h))]) / min(5, sum(h))),
        "next": (PrecisionAtK(3, "rank k+1", "expected"), lambda h: h[3]),
    }

    class Wanted(EvaluationProtocol):
        def build_measures(self):
            return {name: measure for name, (measure, _) in measures.items()}

    query, gallery = signs(rng, 40, 4), signs(rng, 7, 4)
    ql, gl = torch.from_numpy(rng.integers(0, 2, 40)), torch.tensor([0, 1, 0, 1, 1, 0, 0])
    found = compute_query_values(query, ql, gallery, gl, [Wanted("expected", "")])["expected"]
    for row in range(40):
        scores = slow.cosine(query[row].numpy(), gallery.numpy())
        hits = [int(g == ql[row]) for g in gl]
        for name, (_, direct) in measures.items():
            assert float(found[name][row]) == pytest.approx(slow.expected(scores, hits, direct), abs=1e-12), (
                name
            )


def test_strided_looks_at_every_20th_sketch_and_every_10th_photo():
    rng = np.random.default_rng(4)
    query, gallery = signs(rng, 61), signs(rng, 155)
    ql, gl = torch.from_numpy(rng.integers(0, 2, 61)), torch.from_numpy(rng.integers(0, 2, 155))
    found = compute_query_values(query, ql, gallery, gl, resolve_protocols(["zse-strided"]))["zse-strided"]
    want = slow_values(PRESETS["zse-strided"], query[::20], ql[::20], gallery[::10], gl[::10])
    agree({name: column[::20] for name, column in found.items()}, list(want))
    assert found["mAP@all"].isfinite().sum() == 4


def test_clip_at_ranks_one_random_photo_a_query():
    rng = np.random.default_rng(5)
    query, gallery = signs(rng, 30), signs(rng, 50)
    ql, gl = torch.from_numpy(rng.integers(0, 4, 30)), torch.from_numpy(rng.integers(0, 3, 50))
    drawn = sample_one_photo_per_query(ql, gl, seed=7)
    assert gl[drawn].sort().values.tolist() == ql[ql < 3].sort().values.tolist()
    drawn = drawn.sort().values  # the gallery keeps its order
    found = compute_query_values(query, ql, gallery, gl, resolve_protocols(["clip-at"]), seed=7)["clip-at"]
    agree(found, list(slow_values(PRESETS["clip-at"], query, ql, gallery[drawn], gl[drawn])))


def test_the_path_for_other_devices_finds_the_same(monkeypatch):
    from ssl_sbir.evaluation.metrics import blockwise
    from ssl_sbir.ranking.sorting import SortedItems

    rng = np.random.default_rng(6)
    tensors = (
        signs(rng, 50, 9),
        torch.from_numpy(rng.integers(0, 4, 50)),
        signs(rng, 300, 9),
        torch.from_numpy(rng.integers(0, 3, 300)),
    )
    want = compute_query_values(*tensors, resolve_protocols())

    def torch_only(scores):
        keys, items = torch.sort(-scores, dim=1, stable=True)
        return SortedItems(items, keys)

    monkeypatch.setattr(blockwise, "sort_best_first", torch_only)
    monkeypatch.setattr(blockwise, "_to_numpy_on_cpu", lambda values: values)
    found = compute_query_values(*tensors, resolve_protocols())
    for name in PRESETS:
        for metric, column in want[name].items():
            torch.testing.assert_close(found[name][metric], column, rtol=0, atol=0, equal_nan=True)
