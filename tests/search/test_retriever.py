"""Drawings, sentences and photos search a folder of real small photos; every score is the sum of its parts."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir import Retriever
from ssl_sbir.encoders import Encoder, Preprocess, TokenizationReport
from ssl_sbir.errors import DataError, GalleryError, QueryError
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.negation import split_negations
from ssl_sbir.search.query import SearchQuery
from ssl_sbir.search.query_image import to_query_image


class Tones(Encoder):
    """Sixteen cells' mean colours: enough to tell these photos apart, and quick."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__({"kind": "tones", "name": "tones", "shift": shift}, Preprocess(16), 48)
        self.shift = torch.nn.Parameter(torch.tensor(shift))

    def feature_map(self, image, domain):
        raise NotImplementedError

    def forward(self, image, domain):
        return F.adaptive_avg_pool2d(image, 4).flatten(1) - 0.5 + self.shift


class Words:
    """A text side whose words have fixed random vectors; a drawing's share is .7 unless it is told otherwise."""

    needs_images = True
    weights = (0.7, 0.3)
    encoder = SimpleNamespace(
        notes=lambda texts: [f"{len(texts)} read"],
        tokenization_report=lambda text: TokenizationReport(
            sum(word != "zzz" for word in text.split()), unknown_words=("zzz",) if "zzz" in text else ()
        ),
    )

    def __init__(self, encoder: Encoder) -> None:
        self.image_encoder = encoder

    def __call__(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(torch.stack([sum(map(self._word, text.split())) for text in texts]), dim=1)

    def fuse(self, sketch=None, text=None, weights=None):
        share = 0.7 if weights is None else weights[0] / sum(weights)
        features = self.image_encoder(sketch, torch.zeros(len(sketch), dtype=torch.long))
        if text is None:
            return SimpleNamespace(vector=F.normalize(features, dim=1))
        parts = share * F.normalize(features, dim=1), (1 - share) * self(text)
        length = (parts[0] + parts[1]).norm(dim=1, keepdim=True)
        return SimpleNamespace(
            vector=(parts[0] + parts[1]) / length, sketch=parts[0] / length, text=parts[1] / length
        )

    @staticmethod
    def _word(word: str) -> Tensor:
        return torch.randn(48, generator=torch.Generator().manual_seed(sum(map(ord, word))))


@pytest.fixture
def photos(shapes: Path, tmp_path: Path) -> Path:
    shutil.copytree(shapes / "photo", tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def retriever(photos: Path, tmp_path: Path) -> Retriever:
    encoder = Tones().eval()
    model = SearchModel("tones", encoder, "cpu", Words(encoder))
    return Retriever(model).index(photos, tmp_path / "index")


def test_a_photo_finds_itself_and_parts_add_up_to_the_score(retriever: Retriever, photos: Path):
    assert retriever.indexing_summary is not None
    assert (retriever.indexing_summary.items, retriever.indexing_summary.added) == (72, 72)
    hits = retriever.search(photo=photos / "circle/00.png", k=3)
    assert (hits[0].id, hits[0].path, hits[0].gone) == ("circle/00.png", photos / "circle/00.png", False)
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    sketch = Image.open(photos / "ring/03.png")
    both = retriever.search(
        sketch=sketch, text="a ring", photo=photos / "ring/04.png", without="sky", k=72, like=["bar/01.png"]
    )
    assert both[0].parts.keys() == {"sketch", "text", "photo", "like", "without"}
    for hit in both:
        assert hit.score == pytest.approx(sum(hit.parts.values()), abs=1e-5)
    assert any("moved away from: sky" in note for note in both.notes)


def test_weights_decide_who_counts(retriever: Retriever, photos: Path):
    sketch = photos / "ring/03.png"
    alone = [hit.id for hit in retriever.search(sketch=sketch, k=9)]
    text = [hit.id for hit in retriever.search(text="blue sky", k=9)]
    assert [h.id for h in retriever.search(sketch=sketch, text="blue sky", weights={"text": 0}, k=9)] == alone
    assert [
        h.id for h in retriever.search(sketch=sketch, text="blue sky", weights={"sketch": 0}, k=9)
    ] == text
    sides = {"sketch": sketch, "text": "blue sky", "photo": photos / "bar/01.png"}
    even, more = (retriever.search(**sides, weights={"photo": w}, k=72) for w in (2, 20))
    ranks = [{hit.id: hit.rank for hit in hits}["bar/01.png"] for hits in (even, more)]
    assert ranks[1] == 1
    assert ranks[0] >= ranks[1]
    assert even[0].parts["photo"] < more[0].parts["photo"]
    with pytest.raises(QueryError, match="Did you mean 'sketch'"):
        retriever.search(text="a", weights={"sketsh": 1})
    with pytest.raises(QueryError, match="weighs 0"):
        retriever.search(text="a", weights={"text": 0})


def test_a_batch_answers_as_each_query_alone(retriever: Retriever, photos: Path):
    sketches = [photos / f"{name}/02.png" for name in ("circle", "bar", "cross")]
    texts = ["round", "long, not red", "crossed"]
    together = retriever.search(sketch=sketches, text=texts, k=5)
    for hits, sketch, text in zip(together, sketches, texts, strict=True):
        alone = retriever.search(sketch=sketch, text=text, k=5)
        assert [(it.id, pytest.approx(it.score, abs=1e-5)) for it in hits] == [
            (it.id, it.score) for it in alone
        ]
    with pytest.raises(QueryError, match="a batch of 1 and 3 queries"):
        retriever.search(sketch=sketches, text=["one"])
    assert retriever.search(text=[]) == []


def test_queries_of_one_batch_keep_their_own_weights(retriever: Retriever, photos: Path):
    sketch = to_query_image(photos / "ring/03.png", "sketch")
    queries = [
        SearchQuery(sketch=sketch, text="blue sky", weights=weights)
        for weights in ((), (("text", 3.0),), (("text", 0.5),), (("text", 3.0),))
    ]
    together = [results[0].parts for results in retriever.search_queries(queries, 1)]
    alone = [retriever.search_queries([query], 1)[0][0].parts for query in queries]
    assert [pytest.approx(parts, abs=1e-5) for parts in alone] == together


def test_feedback_moves_the_answer_as_rocchio_says(retriever: Retriever, photos: Path):
    first = retriever.search(text="blue sky", k=72)
    liked, disliked = first[40].id, first[0].id
    second = first.refine(like=[liked], unlike=[disliked])
    ranks = {hit.id: hit.rank for hit in second}
    assert ranks[liked] < 41
    assert ranks[disliked] > 1
    q = retriever.model.embed_text(["blue sky"])[0]
    up, down = retriever.gallery.get_vectors([liked, disliked])
    expected = F.normalize(q + 0.75 * up - 0.25 * down, dim=0)
    assert second[0].score == pytest.approx(
        float(expected @ retriever.gallery.get_vectors([second[0].id])[0]), abs=1e-5
    )
    third = second.refine(text="not red")
    assert (third.query.text, third.query.like) == ("blue sky, not red", (liked,))
    red = retriever.model.embed_text(["red"])[0]
    near = max(first, key=lambda hit: float(red @ retriever.gallery.get_vectors([hit.id])[0]))
    assert {h.id: h.score for h in first.refine(without="red")}[near.id] < near.score


@pytest.mark.parametrize(
    ("text", "wanted", "refused"),
    [
        ("a cat, not a cartoon", "a cat", ("a cartoon",)),
        ("a house with a red roof but without people", "a house with a red roof", ("people",)),
        ("no people, a beach", "a beach", ("people",)),
        ("not a dog", "", ("a dog",)),
        ("a knot and nothing else", "a knot and nothing else", ()),
        ("a cat that is not only grey", "a cat that is not only grey", ()),
        ("a boat, not red and not blue", "a boat", ("red", "blue")),
    ],
)
def test_refusals_are_taken_out_of_a_sentence(text: str, wanted: str, refused: tuple[str, ...]):
    assert split_negations(text) == (wanted, refused)


def test_what_cannot_be_searched_for_is_named(retriever: Retriever, tmp_path: Path):
    for query, said in (
        ({}, "the query is empty"),
        ({"text": "  "}, "the query is empty"),
        ({"text": "not a dog"}, "only says what not to find"),
        ({"unlike": ["bar/01.png"]}, "only says what not to find"),
        ({"sketch": np.full((20, 20), 255, np.uint8)}, "the drawing is blank"),
        ({"sketch": np.zeros((20, 20), np.uint8), "text": "a cat"}, "black all over"),
        ({"sketch": tmp_path / "nowhere.png"}, "no such file"),
        ({"text": "a", "k": 0}, "0 results"),
    ):
        with pytest.raises(QueryError, match=said):
            retriever.search(**query)
    with pytest.raises(GalleryError, match="no item 'nowhere'"):
        retriever.search(text="a", like=["nowhere"])
    wordless = Retriever(replace(retriever.model, text_encoder=None)).open(tmp_path / "index")
    with pytest.raises(QueryError, match="reads images, not text"):
        wordless.search(text="a cat")
    with pytest.raises(QueryError, match="nothing to search"):
        Retriever(retriever.model).search(text="a")
    assert len(retriever.search(text="word " * 10_000, k=3)) == 3


def test_indexing_again_follows_the_folder(retriever: Retriever, photos: Path, tmp_path: Path):
    (photos / "ring/00.png").unlink()
    Image.new("RGB", (20, 20), "red").save(photos / "ring/01.png")
    Image.new("RGB", (20, 20), "blue").save(photos / "new'\"<b>.png")
    (photos / "bad.png").write_bytes(b"no image")
    again = Retriever(retriever.model).index(photos, tmp_path / "index")
    done = again.indexing_summary
    assert done is not None
    assert (done.items, done.added, done.removed, done.unchanged) == (72, 2, 1, 70)
    assert [(it.key, it.reason) for it in done.broken] == [("bad.png", "not an image")]
    assert again.search(photo=photos / "new'\"<b>.png", k=1)[0].id == "new'\"<b>.png"
    (photos / "ring/01.png").unlink()
    found = again.search(photo=Image.new("RGB", (20, 20), "red"), k=72)
    assert [hit.id for hit in found if hit.gone] == ["ring/01.png"]
    assert "1 of these photos were deleted" in found.notes[-1]


def test_an_index_of_another_model_is_refused(retriever: Retriever, photos: Path, tmp_path: Path):
    other = Retriever(SearchModel("other", Tones(0.25).eval(), "cpu"))
    for use in (lambda: other.open(tmp_path / "index"), lambda: other.index(photos, tmp_path / "index")):
        with pytest.raises(GalleryError, match=r"made with another model: tones .* not other"):
            use()
    with pytest.raises(GalleryError, match="index of engine exact, not faiss"):
        Retriever(retriever.model).index(photos, tmp_path / "index", engine="faiss")
    assert len(other.index(photos, tmp_path / "index", overwrite=True).gallery) == 72
    with pytest.raises(GalleryError, match="made with another model"):
        Retriever(retriever.model).open(tmp_path / "index")
    with pytest.raises(DataError, match="does not exist"):
        other.index(tmp_path / "nowhere", tmp_path / "third")


def test_an_index_without_a_place_goes_with_its_retriever(retriever: Retriever, photos: Path):
    passing = Retriever(retriever.model).index(photos)
    folder = passing.folder
    assert folder is not None
    assert folder.is_dir()
    assert len(passing.search(text="a", k=4)) == 4
    del passing
    assert not folder.exists()


def test_hits_as_table_fragment_and_sheet(retriever: Retriever, photos: Path, tmp_path: Path):
    hostile = 'x"><img src=y onerror=alert(1)>\x1b[31m.png'
    Image.new("RGB", (20, 20), "red").save(photos / hostile)
    again = Retriever(retriever.model).index(photos, tmp_path / "index")
    hits = again.search(
        photo=Image.new("RGB", (20, 20), "red"), text="</script><script>alert(1)</script>", k=3
    )
    from ssl_sbir.search.results_page import format_results_table

    assert "\x1b" not in format_results_table(hits.hits)
    assert 'x"><img' in format_results_table(hits.hits)
    for html in (hits._repr_html_(), hits.save(tmp_path / "sheet.html").read_text("utf-8")):
        assert "<img src=y" not in html
        assert "<script>alert" not in html
        assert html.count("data:image/webp") >= 3
    assert json.loads(json.dumps(hits.facts()))["searched"] == 73


def test_an_explanation_weighs_and_words_as_the_search_did(
    retriever: Retriever, shapes: Path, tmp_path: Path
):
    for text, weights in (("red zzz", None), ("red ring", {"sketch": 0.2, "text": 0.8})):
        hits = retriever.search(sketch=shapes / "sketch/ring/01.png", text=text, weights=weights, k=4)
        report = hits.explain(top=4, methods=("occlusion",), draws=0)
        scores = {hit.id: hit.score for hit in hits}
        for result in report.facts.results:
            if result.id in scores:
                assert result.explanation.score == pytest.approx(scores[result.id], abs=1e-3)
        assert [result.id for result in report.facts.results] == [hit.id for hit in hits]
        assert any("zzz" in line for line in report.facts.warnings) == ("zzz" in text)
        assert report.facts.share == pytest.approx(weights["sketch"] if weights else 0.7)
    assert "“red”" in report.save(tmp_path / "why.html").read_text("utf-8")


def test_an_explanation_compares_the_hits_with_others(retriever: Retriever, shapes: Path, tmp_path: Path):
    hits = retriever.search(sketch=shapes / "sketch/ring/01.png", text="a ring, not red", k=4)
    report = hits.explain(top=2, methods=("occlusion",), draws=0)
    assert len(report.facts.results) == len(report.photos) == 2
    assert report.facts.text == "a ring"
    assert "compared here: the 4 that came back and 60 others" in report.facts.settings["photos searched"]
    page = report.save(tmp_path / "why.html").read_text("utf-8")
    assert page.count("<html") == 1
    assert "<h4>Words</h4>" in page
    assert any("negated" in warning for warning in report.facts.warnings)
    assert (
        report.facts.settings["ideas"]
        == "297 names of classes of published data, embedded by the run's text encoder"
    )
    assert report.facts.results[0].explanation.concepts.photo
    with pytest.raises(QueryError, match="a drawing or a text"):
        retriever.search(photo=shapes / "photo/ring/00.png").explain()


def test_strokes_search_as_the_drawing_they_are(retriever: Retriever):
    strokes = [[[10, 100, 200], [20, 50, 240]], [[10, 20, 30], [30, 200, 10]]]
    forms = strokes, tuple(strokes), {"drawing": strokes}, [np.array(stroke) for stroke in strokes]
    found = [[hit.id for hit in retriever.search(sketch=form, k=5)] for form in forms]
    assert found[0] == found[1] == found[2] == found[3]
    batch = retriever.search(sketch=[strokes, strokes], k=5)
    assert [[hit.id for hit in hits] for hits in batch] == [found[0]] * 2


def test_what_is_wrong_with_one_of_a_batch_says_which(retriever: Retriever, photos: Path):
    blank = np.full((20, 20), 255, np.uint8)
    with pytest.raises(QueryError, match="query 2: the drawing is blank"):
        retriever.search(sketch=[photos / "ring/03.png", blank], k=1)


def test_a_text_that_is_no_text_is_named(retriever: Retriever):
    for ask in ({"text": "caf\udce9"}, {"text": "a", "without": "caf\udce9"}):
        with pytest.raises(QueryError, match="not valid UTF-8"):
            retriever.search(**ask)


def test_white_space_costs_nothing():
    assert split_negations("a cat" + " " * 5000 + "x, not" + "\n" * 5000 + "a dog") == (
        "a cat x",
        ("a dog",),
    )


def test_a_drawing_whose_text_weighs_nothing_is_explained_without_it(shapes: Path, photos: Path):
    encoder = Tones().eval()
    only = Retriever(SearchModel("tones", encoder, "cpu")).index(photos)
    hits = only.search(sketch=shapes / "sketch/ring/00.png", text="a ring", weights={"text": 0}, k=3)
    assert len(hits.explain(top=3, methods=("occlusion",), draws=0).facts.results) == 3
