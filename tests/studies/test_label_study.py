"""The label study: its grid, what it concludes from values known by hand, and its page with gaps where runs failed."""

import csv
import json
import math
import re
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.errors import ConfigError, EvaluationError
from ssl_sbir.evaluation.compare_runs import RunScores, load_run_scores
from ssl_sbir.reports.tables import csv_text
from ssl_sbir.studies.curve_points import (
    CurveSeries,
    LabelCurvePoint,
    StudyCurves,
    _list_series,
    compute_study_curves,
)
from ssl_sbir.studies.findings_tables import (
    area_rows,
    point_rows,
    saving_rows,
    study_rows_to_latex,
)
from ssl_sbir.studies.label_findings import LabelFindings
from ssl_sbir.studies.label_report import (
    _notes_on_image_sizes,
    _notes_on_missing_curves,
    _notes_on_seeds,
    describe_final_saving,
)
from ssl_sbir.studies.label_study import LabelStudy
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_table import StudyTable, build_study_row
from ssl_sbir.training.pipeline import export_untrained

ASKED = LabelStudy("folder:x", starts=("scratch", "imagenet", "run:labelfree"), seeds=2)


def point(labels, *means, failed=()):
    """A point whose runs give every sketch the same value; NaN stands for a run that failed."""
    values = torch.tensor(means, dtype=torch.float64)[:, None].expand(-1, 8)
    there = ~values[:, 0].isnan()
    return LabelCurvePoint(
        "all" if labels == 1000 else f"{labels}", float(labels), values.nan_to_num(), there, dict(failed)
    )


@pytest.fixture
def findings():
    name = {
        "classes": [{"name": "cat"}, {"name": "dog"}],
        "data": {"queries_sha256": "q", "gallery_sha256": "g"},
    }
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    curves = {
        "imagenet": [point(0, 0.1, 0.1), point(10, 0.2, 0.2), point(100, 0.3, 0.3), point(1000, 0.4, 0.4)],
        "run:labelfree": [
            point(0, 0.2, 0.2), point(10, 0.3, 0.3), point(100, 0.5, math.nan, failed={1: "it diverged"}),
            point(1000, 0.5, 0.5),
        ],
        "run:gone": [point(0, math.nan, math.nan), point(1000, math.nan, math.nan)],
        "scratch": [point(0, 0.05, 0.05), point(10, 0.1, 0.1), point(1000, 0.35, 0.35)],
    }  # fmt: skip
    found = {CurveSeries(start, "both", "stratified", "all"): points for start, points in curves.items()}
    return LabelFindings(
        ASKED,
        StudyCurves(found, RunScores("one", name, {}, labels), labels, {0: "cat", 1: "dog"}, {}),
        draws=40,
    )


def test_every_combination_is_a_cell_and_a_fixed_start_is_evaluated_once():
    asked = LabelStudy("folder:x", amounts=("0", "5%", "100%"), starts=("scratch", "imagenet", "run:a-{seed}"),
                       domains=("both", "sketch"), choices=("stratified", "k-centre"), seeds=2)  # fmt: skip
    found = asked.build_cells()
    untouched = [(cell.start, cell.seed) for cell in found if not cell.trained]
    assert untouched == [
        ("scratch", 0),
        ("scratch", 1),
        ("imagenet", 0),
        ("run:a-{seed}", 0),
        ("run:a-{seed}", 1),
    ]
    assert len(found) - len(untouched) == 3 * 2 * 2 * (
        2 + 1
    )  # starts, seeds, domains; 5 % in two ways and 100 %
    assert len({str(cell) for cell in found}) == len(found)
    assert found[-1].start_run.name == "a-1"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"seeds": 0}, "--seeds 0"),
        ({"starts": ()}, "--starts: nothing to study"),
        ({"amounts": ("0",)}, "no amount of labels"),
        ({"choices": ("k-center",)}, "Did you mean 'k-centre'"),
        ({"choices": ("random",), "classes": ("5",)}, "--choose random with --classes"),
    ],
)
def test_what_cannot_be_studied_is_refused(asked, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        LabelStudy("folder:x", **asked)


def test_the_command_names_what_is_wrong_and_writes_nothing(tmp_path):
    for wrong, says in (("--seeds=0", "--seeds 0"), ("--recipe=simclr", "'simclr' reads no labels")):
        done = CliRunner().invoke(
            app, ["study", "labels", "--data", "folder:x", wrong, "--out", str(tmp_path / "s")]
        )
        assert done.exit_code == 2
        assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "s").exists()


def test_labels_saved_are_read_off_the_curves(findings):
    by_name = {(row["curve"], row["reference_labels"]): row for row in saving_rows(findings)}
    whole = by_name["run labelfree", 1000]
    # .4 lies half-way between .3 at 10 labels and .5 at 100, on a logarithmic axis
    assert whole["needed"] == pytest.approx(10 * 10**0.5)
    assert whole["saved"] == pytest.approx(1000 - 10 * 10**0.5)
    assert (whole["needed_low"], whole["needed_high"]) == pytest.approx((10 * 10**0.5,) * 2)
    assert by_name["run labelfree", 10]["needed"] == 0
    assert by_name["run labelfree", 100]["needed"] == pytest.approx(10)
    never = by_name["scratch", 1000]
    assert never["needed"] == math.inf
    assert never["share_of_draws_that_reach_it"] == 0
    assert by_name["scratch", 10]["needed"] == pytest.approx(10 ** (1 + 2 * (0.2 - 0.1) / (0.35 - 0.1)))


def test_the_answer_is_a_plain_sentence_either_way(findings):
    labelfree, scratch = (describe_final_saving(findings, series) for series in findings.ordered_series[1:])
    if "scratch" in labelfree:
        labelfree, scratch = scratch, labelfree
    assert labelfree.startswith(
        "With 32 of 1,000 labels (3%), run labelfree reaches what imagenet reaches with all"
    )
    assert "scratch does not reach what imagenet reaches with all labels (0.400)" in scratch


def test_a_start_without_any_result_has_no_curve_and_that_is_told(findings):
    assert "run:gone" not in {series.start for series in findings.ordered_series}
    assert list(_notes_on_missing_curves(findings)) == [
        "run gone has no curve: none of its runs had a result. The causes are listed below."
    ]


def test_runs_evaluated_on_other_sketches_are_not_mixed(studied, monkeypatch):
    out, _, _ = studied
    records = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]
    rows = [
        build_study_row(StudyCell.from_facts(r["cell"]), next(out.glob(f"runs/{path.stem}")), "", 1.0)
        for path, r in zip(sorted((out / "cells").glob("*.json")), records, strict=True)
        if not r["cause"]
    ]
    one = load_run_scores(rows[0].run)
    other = replace(one, labels=one.labels.flip(0))
    monkeypatch.setattr(
        "ssl_sbir.studies.curve_points.load_run_scores", lambda run: one if run == rows[0].run else other
    )
    with pytest.raises(EvaluationError, match="was evaluated on other sketches"):
        compute_study_curves(LabelStudy("folder:x", seeds=1), StudyTable(rows))


def test_areas_and_points_are_those_of_the_curve(findings):
    areas = {row["curve"]: row for row in area_rows(findings)}
    assert areas["imagenet"]["area"] == pytest.approx((0.15 + 0.25 + 0.35) / 3)
    assert areas["scratch"]["area"] == pytest.approx((0.075 + 2 * 0.225) / 3)
    rows = [row for row in point_rows(findings) if row["curve"] == "run labelfree"]
    assert [(row["seeds"], row["failed"]) for row in rows] == [(2, 0), (2, 0), (1, 1), (2, 0)]
    assert rows[2]["accuracy"] == pytest.approx(0.5)


def test_tests_are_paired_and_corrected_together(findings):
    found = {(one.first, one.second): one for one in findings.paired_tests}
    one = found["imagenet · all labels", "run labelfree · all labels"]
    assert one.difference == pytest.approx(0.1)
    assert all(test.p_holm >= test.p for test in findings.paired_tests)
    assert ("imagenet · all labels", "run labelfree · 10") in found
    assert ("imagenet · 10", "scratch · 10") in found


def test_tables_say_infinity_in_their_own_way(findings):
    rows = saving_rows(findings)
    read = list(csv.DictReader(csv_text(rows).splitlines()))
    assert any(row["needed"] == "inf" for row in read)
    text = study_rows_to_latex(rows, "a note")
    assert r"$\infty$" in text
    assert r"run labelfree" in text
    assert text.count(r"\\") == len(rows) + 1


@pytest.fixture(scope="module")
def studied(cell, tmp_path_factory, inline_workers):
    out = tmp_path_factory.mktemp("study")
    start = out / "<b>start"
    asked = cell(seed=5)
    export_untrained(asked.training_request(start), "finetuning", lambda _: None)
    sets = [part for text in (*asked.settings, "optim.max_steps=2") for part in ("--set", text)]
    arguments = ["study", "labels", "--data", asked.data, "--split", asked.split, "--starts", f"scratch,run:{start}",
                 "--fractions", "0,1%,50%,100%", "--choose", "stratified,k-centre", "--seeds", "1",
                 "--out", str(out / "study"), "--json", *sets]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return out / "study", json.loads(done.stdout), done.stderr


def test_runs_that_fail_are_gaps_with_their_cause_and_the_rest_is_reported(studied):
    out, facts, spoken = studied
    page = (out / "index.html").read_text()
    assert len(facts["failed"]) == 4
    assert "leaves class 'bar' without a labelled sketch" in facts["failed"][0]["cause"]
    assert "no result: scratch, 1% labels, seed 0" in " ".join(spoken.split())
    assert page.count("no result with 1 labels") == 4
    assert "leaves class &#39;bar&#39; without a labelled sketch" in page
    rows = list(csv.DictReader((out / "points.csv").read_text().splitlines()))
    assert {row["amount"] for row in rows} == {"no label", "50%", "all labels"}
    assert {row["curve"] for row in rows} >= {"scratch, stratified", "scratch, k-centre"}


def test_seeds_that_read_the_same_labels_are_told(studied):
    out, _, _ = studied
    records = [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]
    few = next(r for r in records if r["cell"]["labels"]["amount"] == "50%" and not r["cause"])
    row = build_study_row(StudyCell.from_facts(few["cell"]), next(out.glob("runs/*-50pc-*")), "", 1.0)
    twin = replace(row, cell=replace(row.cell, seed=1))
    told = list(_notes_on_seeds(LabelStudy("folder:x", seeds=5), StudyTable([row, twin])))
    assert len(told) == 1
    assert "seeds 0 and 1 of" in told[0]
    assert not list(_notes_on_seeds(LabelStudy("folder:x", seeds=5), StudyTable([row])))


def test_starts_of_different_size_are_told(findings):
    assert not list(_notes_on_image_sizes(findings))
    findings.curves.image_sizes.update({"imagenet": {96}, "run:labelfree": {128}})
    (told,) = _notes_on_image_sizes(findings)
    assert "imagenet 96 px; run:labelfree 128 px" in told
    assert "encoder.size" in told


def test_the_page_is_whole_escaped_and_asks_for_nothing_outside(studied):
    out, _, _ = studied
    page = (out / "index.html").read_text()
    assert "<b>start" not in page
    assert "&lt;b&gt;start" in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:|//)""", page)
    assert "NaN" not in page
    assert "different sizes" not in page
    assert {f.name for f in out.iterdir()} >= {
        f"{name}.{ending}"
        for name in ("points", "savings", "areas", "classes", "tests")
        for ending in ("csv", "tex")
    }


def test_each_way_of_choosing_has_its_own_curve_in_whatever_order_it_was_asked_for(tmp_path):
    for choices in (("random", "stratified"), ("stratified", "random")):
        asked = LabelStudy(
            "folder:x", amounts=("10%", "100%"), starts=("imagenet",), choices=choices, seeds=1
        )
        rows = [build_study_row(cell, tmp_path, "not run", 0.0) for cell in asked.build_cells()]
        assert {series.choice for series in _list_series(asked, StudyTable(rows))} == set(choices)


def test_a_class_whose_sketches_take_no_part_is_left_out_of_the_gains(findings):
    told = replace(findings.curves, class_names={0: "cat", 1: "dog", 2: "owl"})
    findings = LabelFindings(ASKED, told, draws=40)
    assert {gain.name for gain in findings.class_gains(findings.ordered_series[0])} == {"cat", "dog"}
