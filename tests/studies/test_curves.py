"""Curves, interpolation, areas and intervals against loops that a reader can check by eye."""

import math

import pytest
import torch

from ssl_sbir.studies.label_curves import (
    BootstrapResamples,
    area_under_curve,
    axis_positions,
    first_crossing,
    label_counts,
    percentile_interval,
)

LABELS = torch.tensor([0.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
PLACES = [0.0, 1.0, 2.0, 3.0]


def slow_reached(places, values, aim):
    if values[0] >= aim:
        return places[0]
    for (x, a), (y, b) in zip(zip(places, values), zip(places[1:], values[1:])):  # noqa: B905
        if a < aim <= b:
            return x + (aim - a) / (b - a) * (y - x)
    return math.inf


def slow_area(places, values):
    whole = sum((y - x) * (a + b) / 2 for x, y, a, b in zip(places, places[1:], values, values[1:]))  # noqa: B905
    return whole / (places[-1] - places[0])


def test_the_axis_is_linear_up_to_the_first_number_and_logarithmic_beyond():
    assert axis_positions(LABELS, 10.0).tolist() == PLACES
    assert axis_positions(torch.tensor([5.0]), 10.0).tolist() == [0.5]
    some = torch.tensor([0, 1, 9, 10, 11, 5000.0], dtype=torch.float64)
    assert torch.allclose(label_counts(axis_positions(some, 10.0), 10.0), some)
    assert label_counts(torch.tensor([math.inf]), 10.0).item() == math.inf


def test_labels_needed_and_areas_are_those_of_a_loop():
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(200, 4, generator=draw, dtype=torch.float64)
    aims = torch.rand(200, generator=draw, dtype=torch.float64)
    aims[:4] = values[range(4), range(4)]  # reached exactly at a point
    found = first_crossing(torch.tensor(PLACES, dtype=torch.float64), values, aims).tolist()
    wanted = [slow_reached(PLACES, v, a) for v, a in zip(values.tolist(), aims.tolist(), strict=True)]
    assert found == pytest.approx(wanted)
    assert math.inf in wanted
    assert 0.0 in wanted
    areas = area_under_curve(torch.tensor(PLACES, dtype=torch.float64), values).tolist()
    assert areas == pytest.approx([slow_area(PLACES, v) for v in values.tolist()])


def test_a_flat_stretch_and_a_single_point_divide_nothing_by_zero():
    flat = torch.tensor([[0.2, 0.2, 0.4]], dtype=torch.float64)
    places = torch.tensor(PLACES[:3], dtype=torch.float64)
    assert first_crossing(places, flat, torch.tensor([0.2], dtype=torch.float64)).tolist() == [0.0]
    assert first_crossing(places, flat, torch.tensor([0.3], dtype=torch.float64)).tolist() == pytest.approx(
        [1.5]
    )
    one = torch.tensor([[0.2]], dtype=torch.float64)
    assert first_crossing(places[:1], one, torch.tensor([0.3], dtype=torch.float64)).tolist() == [math.inf]
    assert area_under_curve(places[:1], one).tolist() == [0.2]


def test_a_draw_is_the_mean_over_the_seeds_and_sketches_it_drew():
    draws = BootstrapResamples.from_counts(seeds=3, queries=7, draws=200, seed=1)
    values = torch.rand(3, 7, generator=torch.Generator().manual_seed(2))
    assert draws.queries.sum(1).tolist() == [7.0] * 200
    there = torch.tensor([True, False, True])
    found = draws.resample_means(values, there).tolist()
    for seeds, weights, mean in zip(draws.seeds.tolist(), draws.queries.tolist(), found, strict=True):
        taken = [s for s in seeds if there[s]] or [0, 2]
        rows = [sum(w * v for w, v in zip(weights, values[s].tolist(), strict=True)) / 7 for s in taken]
        assert mean == pytest.approx(sum(rows) / len(rows), abs=1e-6)
    assert any(set(seeds) == {1} for seeds in draws.seeds.tolist())


def test_an_interval_leaves_out_two_and_a_half_per_cent_on_either_side_even_of_the_infinite():
    assert percentile_interval(torch.arange(1000, dtype=torch.float64).flip(0)) == (24.0, 975.0)
    some = torch.cat([torch.zeros(960), torch.full((40,), torch.inf)]).double()
    assert percentile_interval(some) == (0.0, math.inf)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    draw, covered = torch.Generator().manual_seed(3), 0
    for number in range(100):
        values = 0.5 + 0.1 * torch.randn(1, 60, generator=draw)
        low, high = percentile_interval(
            BootstrapResamples.from_counts(1, 60, 200, number).resample_means(values, torch.tensor([True]))
        )
        covered += low <= 0.5 <= high
    assert 85 <= covered <= 99
