import pytest
import torch
from texts_for_tests import Mean, Tower, run_with_text
from torch.nn import functional as F

from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import (
    load_encoder,
    save_encoder,
)
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.run.explanation_request import ExplanationRequest, run_explanation
from ssl_sbir.explain.text.query_text import TextQueries
from ssl_sbir.run import RunFolder


@pytest.fixture
def explainer(shapes):
    encoder = Mean().eval()
    photos = open_data(f"folder:{shapes}")
    return Explainer(encoder, photos, ("ring", "cross"), 3, draws=0, texts=TextQueries(Tower(encoder)))


def test_a_text_of_known_words_is_one_query_with_the_drawing(explainer):
    image = torch.rand(3, 32, 32)
    found = explainer.texts.query_vectors(image, ["red", "", "zzz", "red zzz"])
    alone = F.normalize(image.mean((1, 2)), dim=0)
    assert torch.allclose(found[0], F.normalize(alone + torch.eye(3)[0], dim=0), atol=1e-6)
    assert torch.allclose(found[1], alone, atol=1e-6)
    assert torch.equal(found[1], found[2])
    assert torch.allclose(found[0], found[3], atol=1e-6)


def test_parts_of_drawing_and_text_sum_to_the_score_of_the_query(explainer):
    found = explainer.search_and_explain("ring/03.png", "red round zzz")
    image = torch.from_numpy(found.pixels.copy()).permute(2, 0, 1).float() / 255
    vector = explainer.texts.query_vectors(image, ["red round zzz"])[0]
    for one, row in zip(found.explanations, found.rows, strict=True):
        index = explainer.gallery.rows.tolist().index(row)
        whole = torch.cosine_similarity(vector, explainer.gallery.embeddings[index], 0).item()
        assert sum(one.parts.values()) == pytest.approx(whole, abs=1e-5)
        assert sum(word.shapley for word in one.words.words) == pytest.approx(one.parts["text"], abs=1e-6)
        assert one.words.words[2].shapley == pytest.approx(0, abs=1e-6)
    assert [change.change for change in found.counterfactuals][-1] == "without any text"


def test_a_text_of_unknown_words_gets_the_drawing_s_page_and_says_so(explainer, tmp_path):
    plain = explainer.search_and_explain("ring/03.png")
    report = build_query_report(explainer, explainer.search_and_explain("ring/03.png", "zzz qwx"))
    assert [result.id for result in report.facts.results] == [one.result for one in plain.explanations]
    assert any("knows no word of the text" in warning for warning in report.facts.warnings)
    assert "knows no word of the text" in report.save(tmp_path / "page.html").read_text()
    half = build_query_report(explainer, explainer.search_and_explain("ring/03.png", "red zzz")).facts
    assert any("skipped: zzz" in warning for warning in half.warnings)


def test_a_run_with_a_text_side_is_explained_with_its_words(shapes, tmp_path):
    run = run_with_text(tmp_path)
    request = ExplanationRequest(
        str(run), str(shapes), ("ring/03.png",), text="the red zzqq thing", top=2, draws=0
    )
    report, page = run_explanation(request)
    known = report.facts.results[0].explanation
    assert [word.text for word in known.words.words] == ["the", "red", "zzqq", "thing"]
    assert known.parts["drawing"] + known.parts["text"] == pytest.approx(known.score)
    assert report.facts.changes
    assert any("zzqq" in warning for warning in report.facts.warnings)
    assert "<h4>Words</h4>" in page.read_text()
    share = report.facts.share
    assert 0 < share < 1
    assert (
        f"the drawing counts for {100 * share:.0f} %, the text for {100 - 100 * share:.0f} %"
        in page.read_text()
    )


def test_the_drawing_s_share_is_told_where_a_text_is_read():
    tower = Tower(Mean().eval())
    assert TextQueries(tower).sketch_share("red") == 0.5
    assert TextQueries(tower, (1.0, 3.0)).sketch_share("red") == 0.25
    assert TextQueries(tower).sketch_share("zzz") is None


def test_a_run_without_a_text_side_refuses_a_text(shapes, tmp_path):
    torch.manual_seed(0)
    RunFolder.create(tmp_path / "run", "", {"recipe": "none"})
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    save_encoder(encoder, tmp_path / "run" / "model")
    with pytest.raises(ExplainError, match="reads drawings, no text"):
        run_explanation(ExplanationRequest(str(tmp_path / "run"), str(shapes), ("ring/03.png",), text="red"))
