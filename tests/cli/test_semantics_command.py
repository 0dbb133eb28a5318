"""`semantics` and `data conceptnet` through their entry points."""

import json

import pytest
from typer.testing import CliRunner

from ssl_sbir.cli import app

TRIPLES = "IsA\tcow\tmammal\nIsA\thorse\tmammal\nAtLocation\thorse\trace track\n"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def graph(tmp_path):
    (tmp_path / "t.tsv").write_text(TRIPLES)
    return f"conceptnet:{tmp_path / 't.tsv'}"


def test_names_are_resolved_compared_and_connected(graph):
    found = json.loads(run("semantics", graph, "--a", "cows,xyzzy", "--b", "horse", "--json").stdout)
    assert found["resolved"] == {"cows": "cow (in the singular)", "xyzzy": None, "horse": "horse"}
    cow, other = found["pairs"]
    assert (cow["a"], cow["b"], cow["path"]) == ("cows", "horse", "cow —is a→ mammal ←is a— horse")
    assert cow["similarity"] == pytest.approx(0.8 * 0.8 / 2)
    assert (other["similarity"], other["path"]) == (0, None)
    shown = run("semantics", graph, "--a", "cows", "--b", "horse").stdout
    assert "cows → cow (in the singular)" in shown
    assert (
        "0.000  horse · xyzzy   no path" not in run("semantics", graph, "--a", "horse", "--b", "xyzzy").stdout
    )
    assert "0.320  cows · horse   cow —is a→ mammal ←is a— horse" in shown


def test_two_ideas_without_a_path_are_said_to_have_none(tmp_path):
    (tmp_path / "two.tsv").write_text("IsA\tcow\tmammal\nIsA\tharp\tinstrument\n")
    graph = f"conceptnet:{tmp_path / 'two.tsv'}"
    assert "0.000  cow · harp   no path" in run("semantics", graph, "--a", "cow", "--b", "harp").stdout


def test_kinds_are_listed_and_a_misspelt_one_is_named():
    assert "wordnet:[DICT]" in run("semantics").stdout
    refused = run("semantics", "wordnt", "--a", "cow")
    assert refused.exit_code == 2
    assert "Did you mean 'wordnet'?" in refused.stderr
    assert run("semantics", "none").exit_code == 2


def test_a_dump_is_converted_by_command(tmp_path, graph):
    target = tmp_path / "g.safetensors"
    facts = json.loads(run("data", "conceptnet", tmp_path / "t.tsv", target, "--json").stdout)
    assert (facts["lines"], facts["concepts"], facts["edges"]) == (3, 4, 3)
    assert json.loads(
        run("semantics", f"conceptnet:{target}", "--a", "cow", "--b", "horse", "--json").stdout
    )["pairs"]
    assert run("data", "conceptnet", tmp_path / "t.tsv", tmp_path / "g.npz").exit_code == 2
    (tmp_path / "empty.csv").write_text("")
    refused = run("data", "conceptnet", tmp_path / "empty.csv", target)
    assert refused.exit_code == 2
    assert "is empty" in refused.stderr
