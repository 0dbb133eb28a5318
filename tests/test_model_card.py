"""Model cards: filled from provenance, and with results once there are any."""

import json

import pytest
from tiny_for_tests import TINY_ENCODER
from typer.testing import CliRunner

from ssl_sbir.cli import app

TINY = (*TINY_ENCODER, "embedding_dim=16", "batch.sketches=8", "batch.photos=8", "optim.max_steps=1")


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    out = tmp_path_factory.mktemp("cards") / "run"
    sets = [part for text in TINY for part in ("--set", text)]
    command = ["finetune", "sake", "--data", f"folder:{shapes}", "--labels", "25%", "--out", str(out), *sets]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return out


def card(run):
    return (run / "model" / "README.md").read_text()


def test_a_card_says_what_the_model_was_made_from_and_what_it_is_not_for(run):
    facts, text = json.loads((run / "provenance.json").read_text()), card(run)
    for part in (facts["manifest_sha256"], facts["split"]["sha256"], facts["labels"]["sha256"]):
        assert part in text
    assert "15 of sketches and 15 of photos, of 5 seen classes (25%)" in text
    assert "timm:test_efficientnet, random weights" in text
    assert "teacher: efficientnet_lite0 (Apache-2.0)" in text
    assert "None yet. Measure it" in text
    assert "Not meant for decisions about people" in text


def test_an_evaluation_fills_in_its_results(run, shapes):
    done = CliRunner().invoke(app, ["evaluate", str(run), "--data", f"folder:{shapes}", "--json"])
    assert done.exit_code == 0, done.output
    facts, text = json.loads(done.stdout), card(run)
    assert "None yet" not in text
    one = facts["protocols"]["standard"]
    row = next(line for line in text.splitlines() if "| standard |" in line)
    assert f"| {one['mAP@all']:.3f} |" in row
    assert facts["split"]["sha256"][:12] in row
    assert f"{one['queries']} → {one['gallery']}" in row
    assert facts["verdict"] in text
