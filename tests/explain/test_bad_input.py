"""Queries that something is missing of: the page is still written, whole, and says what."""

from html import unescape

import pytest
import torch
from encoders_for_tests import Spots
from PIL import Image
from test_query import command

from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import load_encoder, save_encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary
from ssl_sbir.run import RunFolder
from ssl_sbir.semantics import load_semantics

SECTIONS = ('id="results"', 'id="trust"', 'id="reading"', 'id="run"')


def test_a_graph_without_either_idea(shapes, tmp_path):
    (tmp_path / "graph.tsv").write_text("IsA\tcow\tmammal\n")
    photos = open_data(f"folder:{shapes}")
    ideas = Vocabulary(("spot", "paper", "ground"), torch.eye(3), torch.eye(3), "three axes")
    graph = load_semantics(f"conceptnet:{tmp_path / 'graph.tsv'}")
    explainer = Explainer(Spots().eval(), photos, ("ring",), 2, draws=1, vocabulary=ideas, semantics=graph)
    report = build_query_report(explainer, explainer.search_and_explain("ring/03.png"))
    known = report.facts.results[0].explanation.concepts
    assert (known.drawing[0].name, known.photo[0].name, known.path) == ("paper", "ground", ())
    html = report.save(tmp_path / "page.html").read_text("utf-8")
    assert "doesn't know 'paper'" in unescape(html)
    assert all(section in html for section in SECTIONS)


def test_an_encoder_without_feature_maps_names_the_methods_that_remain(shapes, tmp_path):
    torch.manual_seed(0)
    RunFolder.create(tmp_path / "vit", "", {"recipe": "none"})
    save_encoder(
        load_encoder("timm:vit_tiny_patch16_224", size=32, pretrained=False), tmp_path / "vit" / "model"
    )
    page = tmp_path / "page.html"
    done = command(
        tmp_path / "vit",
        "--data",
        shapes,
        "--query",
        "ring/03.png",
        "--top",
        2,
        "--random-maps",
        1,
        "--out",
        page,
    )
    assert done.exit_code == 0, done.output
    html = page.read_text("utf-8")
    assert "This encoder supports gradcam, occlusion, strokes, integrated, attention." in html
    assert "split into pairs of regions" in html
    assert "The colours come from covering parts" in html
    assert all(section in html for section in SECTIONS)


def test_a_query_that_no_file_can_be_called_is_unknown(shapes):
    explainer = Explainer(Spots().eval(), open_data(f"folder:{shapes}"), ("ring",), 2, draws=0)
    with pytest.raises(ExplainError, match="no"):
        explainer.search_and_explain("x" * 300)


def test_a_similarity_of_zero(shapes, tmp_path):
    Image.new("RGB", (50, 50), "white").save(tmp_path / "blank.png")
    photos = open_data(f"folder:{shapes}")
    explainer = Explainer(Spots().eval(), photos, ("ring", "cross"), 2, draws=1)
    report = build_query_report(explainer, explainer.search_and_explain(str(tmp_path / "blank.png")))
    assert {result.explanation.score for result in report.facts.results} == {0.0}
    html = report.save(tmp_path / "page.html").read_text("utf-8")
    assert "no better than chance" in html
    assert "exactly zero" in html
    assert all(section in html for section in SECTIONS)
