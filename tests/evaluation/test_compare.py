"""Paired comparison of runs: the statistics against enumeration, the command and its formats."""

import csv
import itertools
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.evaluation.compare_runs import compare_runs, holm_correction, load_run_scores, sign_flip_p
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder
from ssl_sbir.evaluation.metrics.bootstrap import percentile_intervals, resampled_means
from ssl_sbir.evaluation.report.write_results import save_evaluation
from ssl_sbir.group_means import class_means


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture
def two(eyes, drawings, split, tmp_path):
    for centre in ("none", "train"):
        save_evaluation(
            evaluate_encoder(eyes, drawings, split, centre=centre, draws=10),
            tmp_path / centre / "evaluate" / "shapes",
        )
    return tmp_path / "none", tmp_path / "train"


def test_sign_flips_agree_with_all_of_them():
    gains = torch.tensor([0.3, -0.1, 0.4, 0.2, 0.25, -0.05, 0.1, 0.3])
    sums = [
        abs(sum(s * g for s, g in zip(signs, gains.tolist(), strict=True)))
        for signs in itertools.product([1, -1], repeat=8)
    ]
    exact = np.mean(np.array(sums) >= abs(gains.sum().item()) - 1e-6)
    assert sign_flip_p(gains, flips=20_000) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p(torch.zeros(5)) == 1


def test_holm_multiplies_the_smallest_most_and_never_reverses():
    assert holm_correction([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_correction([0.5, 0.9]) == [1.0, 1.0]


def test_resampled_means_spread_like_the_standard_error():
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((400, 2)))
    interval = percentile_intervals(resampled_means(values, draws=2000))[1]
    mean, error = values[:, 1].mean().item(), values[:, 1].std().item() / 20
    assert interval.low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert interval.half_width == pytest.approx(1.96 * error, rel=0.08)


def test_class_means_are_means_of_classes():
    values, labels = torch.tensor([[1.0], [3.0], [10.0]]), torch.tensor([4, 4, 7])
    found, means = class_means(values, labels)
    assert found.tolist() == [4, 7]
    assert means.tolist() == [[2.0], [10.0]]


def test_a_difference_is_paired_over_sketches(two):
    first, second = (load_run_scores(path) for path in two)
    one = compare_runs([first, second], ["standard mAP@all"])[0]
    gains = (second.values["standard mAP@all"] - first.values["standard mAP@all"]).numpy()
    assert one.difference == pytest.approx(gains.mean())
    assert one.effect == pytest.approx(gains.mean() / gains.std(ddof=1))
    assert one.low < one.difference < one.high
    assert one.better == pytest.approx((gains > 0).mean() + (gains == 0).mean() / 2)


def test_tables_come_in_four_formats(two, tmp_path):
    outs = [tmp_path / f"table.{kind}" for kind in ("html", "md", "tex", "csv")]
    metrics = ["--metric", "standard mAP@all", "--metric", "sake P@100"]
    result = run(*two, *metrics, *itertools.chain(*(("--out", out) for out in outs)), "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)["comparisons"]
    assert [one["metric"] for one in facts] == ["standard mAP@all", "sake P@100"]
    page, markdown, latex, table = (out.read_text() for out in outs)
    assert "<!doctype html>" in page
    assert markdown.startswith("| metric |")
    assert r"\begin{tabular}" in latex
    assert r"95 \% interval" in latex
    rows = list(csv.DictReader(table.splitlines()))
    assert float(rows[0]["difference"]) == facts[0]["difference"]
    assert "difference" in run(*two).stdout


def test_what_cant_be_compared_is_refused(two, eyes, drawings, split, tmp_path):
    first, second = two
    fewer = drawings.select_rows(np.delete(np.arange(len(drawings)), drawings.find_rows(classes=["ring"])[0]))
    save_evaluation(evaluate_encoder(eyes, fewer, split, draws=10), tmp_path / "fewer")
    (second / "evaluate" / "shapes" / "ranking.safetensors").write_bytes(b"x")
    for arguments, told in (
        ([first], "can't be compared"),
        ([first, tmp_path / "nowhere"], "holds no evaluation"),
        ([first, first, "--metric", "standard mAP"], "has no 'standard mAP'"),
        ([first, tmp_path / "fewer"], "were evaluated on different"),
        ([first, second], "the evaluation is incomplete"),
        ([first, first, "--out", tmp_path / "t.docx"], "unknown format '.docx'"),
        ([first, first, "--split", "other"], "holds no evaluation"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, told
        assert told in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    "at_once", [7, 70, 1 << 22]
)  # values resampled together: several, a few, all draws in a batch
def test_there_are_as_many_resamples_as_asked_however_they_are_batched(monkeypatch, at_once):
    monkeypatch.setattr("ssl_sbir.evaluation.metrics.bootstrap.RESAMPLED_QUERIES_AT_ONCE", at_once)
    means = resampled_means(torch.ones(7, 2, dtype=torch.float64), 25, 0)
    assert means.shape == (25, 2)
    torch.testing.assert_close(means, torch.ones(25, 2, dtype=torch.float64))
