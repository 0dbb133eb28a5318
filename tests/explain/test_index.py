import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.cli import explain as _registered  # noqa: F401 - a command exists once its file is imported
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import load_encoder, save_encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.run.evaluation_queries import AVERAGE_PRECISION_COLUMN, sample_evaluated_queries
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.run import RunFolder


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return load_encoder("timm:test_efficientnet", size=64, pretrained=False).eval()


@pytest.fixture
def evaluated(shapes, tmp_path, encoder):
    """A run with an evaluation of the 24 sketches of two unseen classes; the first is the worst."""
    run = tmp_path / "run"
    split = {"name": "shapes-2", "seen": ["circle", "square", "triangle", "bar"], "unseen": ["cross", "ring"]}
    RunFolder.create(run, "", {"recipe": "none", "split": split})
    save_encoder(encoder, run / "model")
    rows = open_data(f"folder:{shapes}").find_rows(Domain.SKETCH, ["cross", "ring"])
    folder = run / "evaluate" / "shapes-2"
    folder.mkdir(parents=True)
    values = np.linspace(0, 1, len(rows), dtype=np.float32)
    values[5] = np.nan  # a query without a relevant photo
    save_file({"query_rows": rows, AVERAGE_PRECISION_COLUMN: values}, folder / "ranking.safetensors")
    return run, rows


def test_the_worst_the_best_and_a_random_sample_none_twice(evaluated, shapes):
    run, rows = evaluated
    asks = sample_evaluated_queries(run / "evaluate", open_data(f"folder:{shapes}"), 3, "shapes-2")
    kinds = {
        kind: [int(ask.query) for ask in asks if ask.kind == kind] for kind in ("worst", "best", "random")
    }
    assert kinds["worst"] == rows[:3].tolist()
    assert kinds["best"] == rows[-3:][::-1].tolist()
    assert len({ask.query for ask in asks}) == 9
    assert str(rows[5]) not in {ask.query for ask in asks}
    assert asks == sample_evaluated_queries(run / "evaluate", open_data(f"folder:{shapes}"), 3, "shapes-2")


def test_a_missing_or_foreign_evaluation_says_so(evaluated, shapes, tmp_path):
    run, _ = evaluated
    manifest = open_data(f"folder:{shapes}")
    with pytest.raises(ExplainError, match="no evaluation in") as error:
        sample_evaluated_queries(tmp_path / "nothing", manifest, 3, None)
    assert "ssl-sbir evaluate" in error.value.hint
    file = run / "evaluate" / "shapes-2" / "ranking.safetensors"
    save_file({"query_rows": np.array([99_999]), AVERAGE_PRECISION_COLUMN: np.ones(1, np.float32)}, file)
    with pytest.raises(ExplainError, match="other data"):
        sample_evaluated_queries(run / "evaluate", manifest, 3, None)


def test_the_command_explains_an_evaluation_and_lists_what_it_could_not(evaluated, shapes, tmp_path):
    run, _ = evaluated
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "explanation.html.j2").write_text(
        '{% extends "package/explanation.html.j2" %}{% block title %}Our museum{% endblock %}'
    )
    arguments = [
        "--data",
        f"folder:{shapes}",
        "--from-evaluation",
        "--per-kind",
        "1",
        "--top",
        "2",
        "--random-maps",
        "0",
    ]
    done = CliRunner().invoke(
        app,
        ["explain", str(run), *arguments, "--templates", str(templates), "--query", "nothing.png", "--json"],
    )
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert [entry["kind"] for entry in facts["entries"]] == ["worst", "best", "random"]
    assert facts["failures"][0][0] == "nothing.png"
    index = (run / "explain" / "index.html").read_text()
    assert "Not explained" in index
    for entry in facts["entries"]:
        page = run / "explain" / entry["href"]
        assert "<title>Our museum</title>" in page.read_text()
        assert json.loads(page.with_suffix(".json").read_text())["query"] == entry["query"]


def test_results_whose_files_went_still_have_a_page(shapes, encoder, tmp_path):
    shutil.copytree(shapes, tmp_path / "shapes")
    explainer = Explainer(encoder, open_data(f"folder:{tmp_path / 'shapes'}"), ("ring",), 2, draws=0)
    answer = explainer.search_and_explain("ring/03.png")
    shutil.rmtree(tmp_path / "shapes" / "photo")
    report = build_query_report(explainer, answer)
    assert report.photos == (None, None)
    html = report.save(tmp_path / "page.html").read_text()
    assert html.count("The file of this photo can") == 2
