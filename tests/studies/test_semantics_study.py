"""The study of semantics: its cells, its contrasts against slow means, its verdict and its page, on real runs."""

import itertools
import json

import pytest
import torch
from optional_parts import needs_lite0
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.errors import ConfigError
from ssl_sbir.evaluation.compare_runs import RunScores
from ssl_sbir.studies import StudyRow, StudyTable
from ssl_sbir.studies.semantics_findings import REPORTED_GAP, SemanticsFindings, describe_reported_gap
from ssl_sbir.studies.semantics_study import SemanticsStudy, TiltStrength

TRIPLES = "IsA\tbar\tshape\nIsA\tcircle\tshape\nIsA\tcross\tsign\nIsA\ttench\tshape\nIsA\tgoldfish\tsign\n"
TINY = (
    "encoder.size=32",
    "teacher_size=32",
    "batch.sketches=8",
    "batch.photos=8",
    "embedding_dim=16",
    "optim.max_steps=2",
)


@pytest.fixture
def conceptnet(tmp_path):
    (tmp_path / "t.tsv").write_text(TRIPLES)
    return f"conceptnet:{tmp_path / 't.tsv'}"


def asked(**more):
    whole = {
        "sources": ("none", "shuffled:{seed}:none"),
        "strengths": (TiltStrength("published", 0.3),),
        "seeds": 2,
    }
    return SemanticsStudy(**{"data": "folder:x", **whole, **more})


def test_none_is_run_once_a_seed_and_every_other_source_at_every_strength():
    strengths = (TiltStrength.from_text("published:.3"), TiltStrength.from_text("calibrated:.5"))
    found = asked(strengths=strengths).build_cells()
    assert [(c.axes["source"], c.axes["strength"], c.seed) for c in found] == [
        ("none", "–", 0), ("shuffled:{seed}:none", "published, λ 0.3", 0),
        ("none", "–", 1), ("shuffled:{seed}:none", "published, λ 0.3", 1),
        ("shuffled:{seed}:none", "calibrated, λ 0.5", 0), ("shuffled:{seed}:none", "calibrated, λ 0.5", 1),
    ]  # fmt: skip
    assert "semantics=shuffled:1:none" in found[3].settings
    assert "semantics=null" in found[0].settings


@pytest.mark.parametrize("text", ["publisht:.3", "published", "published:x", "calibrated:1", "published:-1"])
def test_a_strength_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=f"--strengths {text}"):
        TiltStrength.from_text(text)


def test_what_cannot_be_studied_is_refused_before_the_first_run():
    with pytest.raises(ConfigError, match="unknown source of semantics 'wordnt'"):
        asked(sources=("wordnt",))
    with pytest.raises(ConfigError, match="nothing to study"):
        asked(sources=("none",))
    with pytest.raises(ConfigError, match="--seeds 0"):
        asked(seeds=0)


@pytest.fixture
def measured(monkeypatch, conceptnet, tmp_path):
    """Findings over made-up values of 40 sketches of 8 classes, with a known gap between two sources."""
    monkeypatch.setattr("ssl_sbir.studies.semantics_study.load_semantics", str)  # WordNet may be absent
    draw, labels = torch.Generator().manual_seed(0), torch.arange(40) // 5
    base = torch.rand(40, generator=draw)
    gains = {"none": 0.0, "wordnet": 0.02, "shuffled:{seed}:wordnet": 0.0, conceptnet: 0.05}
    study = asked(sources=tuple(gains), seeds=3)
    facts = {"data": {"queries_sha256": "q", "gallery_sha256": "g"}}
    values = {}
    for cell in study.build_cells():
        noise = 0.002 * torch.randn(40, generator=draw)
        values[tmp_path / f"{cell.axes['source']}-{cell.seed}"] = base + gains[cell.axes["source"]] + noise
    monkeypatch.setattr(
        "ssl_sbir.studies.semantics_findings.load_run_scores",
        lambda run: RunScores(str(run), facts, {study.metric_column: values[run]}, labels),
    )
    rows = [StudyRow(cell, run) for cell, run in zip(study.build_cells(), values, strict=True)]
    return study, StudyTable(rows), values


def test_contrasts_equal_slow_means_and_find_a_known_gap(measured, conceptnet, tmp_path):
    study, table, values = measured
    findings = SemanticsFindings(study, table)
    for one in findings.corrected_contrasts:
        pairs = [
            (values[tmp_path / f"{one.arm.source}-{s}"], values[tmp_path / f"{one.baseline.source}-{s}"])
            for s in range(3)
        ]
        slow = [sum(a[i].item() - b[i].item() for i in range(40)) / 40 for a, b in pairs]
        assert one.mean_difference == pytest.approx(sum(slow) / 3, abs=1e-6)
        assert one.by_seed == pytest.approx(slow, abs=1e-6)
        assert one.low <= one.mean_difference <= one.high
        assert one.test.p_holm >= one.test.p
    by = {(one.arm.source_kind, one.baseline.source_kind): one for one in findings.corrected_contrasts}
    assert by["conceptnet", "wordnet"].mean_difference == pytest.approx(0.03, abs=2e-3)
    assert by["conceptnet", "wordnet"].is_decisive
    assert not by["shuffled", "none"].is_decisive
    first, last = describe_reported_gap(findings)
    assert first.startswith("conceptnet:t.tsv · published, λ 0.3 is above wordnet · published, λ 0.3 by 0.0")
    assert "The reported +0.021 lies outside" in first
    assert REPORTED_GAP == 0.021
    assert last.startswith("Better than no semantics after correction: wordnet")


def test_sketches_that_take_no_part_count_nowhere(measured):
    study, table, values = measured
    whole = SemanticsFindings(study, table)
    kept = torch.arange(40) % 5 == 0
    for run in values:
        values[run] = values[run].where(kept, torch.nan)
    part = SemanticsFindings(study, table)
    assert {one.test.queries for one in part.corrected_contrasts} == {8}
    for one, arm in zip(whole.study_arms, part.study_arms, strict=True):
        assert part.mean_with_interval(arm)[0] == pytest.approx(float(one.values[:, kept].mean()))


def test_a_failed_run_is_left_out_and_the_rest_compared(measured):
    study, table, _ = measured
    rows = [StudyRow(row.cell, row.run, "killed") if row.cell.seed == 1 else row for row in table.rows]
    findings = SemanticsFindings(study, StudyTable(rows))
    assert {len(one.by_seed) for one in findings.corrected_contrasts} == {2}
    rows = [row for row in table.rows if not row.cell.axes["source"].startswith("conceptnet")]
    assert (
        "the reported gap was not tested"
        in describe_reported_gap(SemanticsFindings(study, StudyTable(rows)))[0]
    )


@pytest.mark.usefixtures("inline_workers")
def test_the_command_runs_a_study_and_writes_its_page(shapes, split, conceptnet, tmp_path):
    needs_lite0()
    sets = itertools.chain.from_iterable(("--set", text) for text in TINY)
    arguments = ["study", "semantics", "--data", f"folder:{shapes}", "--split", str(split), "--seeds", "1",
                 "--sources", f"none,sake-shipped:{tmp_path}/s.npz,{conceptnet}", "--strengths", "published:3",
                 "--out", str(tmp_path / "study"), *sets]  # fmt: skip
    assert CliRunner().invoke(app, arguments).exit_code == 2  # there is no such matrix
    arguments[9] = f"none,{conceptnet}"
    ran = CliRunner().invoke(app, [*arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    facts = json.loads(ran.stdout)
    assert [row["source"] for row in facts["sources"]] == ["none", "conceptnet:t.tsv · published, λ 3"]
    assert facts["failed"] == []
    page = (tmp_path / "study" / "index.html").read_text("utf-8")
    assert "ConceptNet and WordNet were not both studied" in page
    assert {"sources.csv", "contrasts.tex", "study.json", "table.csv"} <= {
        file.name for file in (tmp_path / "study").iterdir()
    }
