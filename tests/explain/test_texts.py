from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import Encoder, Preprocess, Reading
from ssl_sbir.explain.explainer import Explainer
from ssl_sbir.explain.query import report_of
from ssl_sbir.explain.texts import TextSide

KNOWN = {"red": 0, "round": 1, "the": 2}


class Mean(Encoder):
    """The mean colour of a picture."""

    def __init__(self):
        super().__init__({"kind": "mean"}, Preprocess(32), 3)

    def feature_map(self, image, domain):
        del domain
        return F.avg_pool2d(image, 8)


class Reader:
    def reading(self, text):
        words = text.split()
        known = [word for word in words if word in KNOWN]
        return Reading(len(known), unknown=tuple(word for word in words if word not in KNOWN))


class Tower:
    """Half the drawing, half the mean of the words it knows; refuses a text without any, as real ones do."""

    needs_images = False

    def __init__(self, encoder):
        self.image_encoder, self.encoder = encoder, Reader()

    def fuse(self, sketch, text=None):
        drawn = F.normalize(sketch, dim=1) if sketch.ndim == 2 else self._drawn(sketch)
        if text is None:
            return SimpleNamespace(vector=drawn)
        words = torch.stack([self._words(one) for one in text])
        return SimpleNamespace(vector=F.normalize(drawn + words, dim=1))

    def _drawn(self, images):
        return F.normalize(self.image_encoder(images, torch.zeros(len(images), dtype=torch.int64)), dim=1)

    def _words(self, text):
        return torch.stack([torch.eye(3)[KNOWN[word]] for word in text.split() if word in KNOWN]).mean(0)


@pytest.fixture
def explainer(shapes):
    encoder = Mean().eval()
    texts = TextSide(Tower(encoder))
    photos = open_data(f"folder:{shapes}")
    return Explainer(encoder, photos, ("ring", "cross"), 3, draws=0, fuse=texts, notes=texts.notes)


def test_a_text_of_known_words_is_one_query_with_the_drawing(explainer):
    image = torch.rand(3, 32, 32)
    found = explainer.fuse(image, ["red", "", "zzz", "red zzz"])
    alone = F.normalize(image.mean((1, 2)), dim=0)
    assert torch.allclose(found[0], F.normalize(alone + torch.eye(3)[0], dim=0), atol=1e-6)
    assert torch.allclose(found[1], alone, atol=1e-6)
    assert torch.equal(found[1], found[2])
    assert torch.allclose(found[0], found[3], atol=1e-6)


def test_parts_of_drawing_and_text_sum_to_the_score_of_the_query(explainer):
    answer = explainer.answer("ring/03.png", "red round zzz")
    image = torch.from_numpy(answer.pixels.copy()).permute(2, 0, 1).float() / 255
    vector = explainer.fuse(image, ["red round zzz"])[0]
    for one, row in zip(answer.known, answer.rows, strict=True):
        place = explainer.gallery.rows.tolist().index(row)
        whole = torch.cosine_similarity(vector, explainer.gallery.embeddings[place], 0).item()
        assert sum(one.parts.values()) == pytest.approx(whole, abs=1e-5)
        assert sum(word.shapley for word in one.words.words) == pytest.approx(one.parts["text"], abs=1e-6)
        assert one.words.words[2].shapley == pytest.approx(0, abs=1e-6)
    assert [change.change for change in answer.changes][-1] == "without any text"


def test_a_text_of_unknown_words_gets_the_drawing_s_page_and_says_so(explainer, tmp_path):
    plain = explainer.answer("ring/03.png")
    report = report_of(explainer, explainer.answer("ring/03.png", "zzz qwx"))
    assert [result.id for result in report.facts.results] == [one.result for one in plain.known]
    assert any("no word that the encoder knows" in warning for warning in report.facts.warnings)
    assert "no word that the encoder knows" in report.save(tmp_path / "page.html").read_text()
    half = report_of(explainer, explainer.answer("ring/03.png", "red zzz")).facts
    assert any("passed over: zzz" in warning for warning in half.warnings)
