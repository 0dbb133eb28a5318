"""Pages and commands that explain a text, alone and beside a drawing, and drawings by the words of a vocabulary."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from test_query import command
from test_report import Elements
from texts_for_tests import COLOURS, Mean, Painted, Tower, explainer_of, painted_tower, run_with_text
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import to_tensor

from ssl_sbir.encoders import ClassVocabulary, save_encoder
from ssl_sbir.encoders.teacher_beside import TeacherBesideEncoder
from ssl_sbir.errors import DataError, EncoderError, QueryError
from ssl_sbir.explain.report.plain_words import describe_best_match
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.explain.run.explained_encoder import find_known_classes
from ssl_sbir.explain.run.explanation_request import ExplanationRequest, run_explanation
from ssl_sbir.explain.text.query_text import TextQueries
from ssl_sbir.fusion import VocabularySide, save_text_tower, vocabulary_tower
from ssl_sbir.fusion.open_text_side import classifier_text_side
from ssl_sbir.fusion.vocabulary_head import centre_class_rows
from ssl_sbir.fusion.vocabulary_tower import MIN_LARGEST_WEIGHT
from ssl_sbir.run import RunFolder
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.retriever import Retriever

NASTY = """"><img src=x onerror=alert(1)></script><script>alert('2')</script>{{ 7*7 }}&amp;"""
COUNT = len(COLOURS)
TEXT = "a glow of ember and moss"


def test_a_text_side_without_vocabulary_shows_words_and_maps_only(manifest, tmp_path):
    encoder = Mean().eval()
    explainer = explainer_of(encoder, manifest, Tower(encoder))
    report = build_query_report(explainer, explainer.search_by_text("the red zzz"))
    assert report.facts.reading is None
    assert {result.explanation.answer.classes for result in report.facts.results} == {None}
    assert report.facts.results[0].explanation.words.words[2].shapley == 0
    html = report.save(tmp_path / "page.html").read_text()
    assert 'id="meaning"' not in html
    assert html.count("<h4>Words</h4>") == 3
    assert "<h4>Classes</h4>" not in html
    assert any("zzz" in warning for warning in report.facts.warnings)


def test_the_page_of_a_text_alone_shows_its_facts(painted, manifest, tower, tmp_path):
    explainer = explainer_of(painted, manifest, tower)
    report = build_query_report(explainer, explainer.search_by_text(TEXT))
    page = report.save(tmp_path / "page.html")
    facts = json.loads(page.with_suffix(".json").read_text())
    assert facts == json.loads(Elements(page.read_text()).blobs["facts"])
    assert (facts["query"], facts["text"], facts["label"], facts["share"]) == (TEXT, TEXT, None, None)
    assert facts["reading"]["classes"][0]["name"] == "ember"
    assert page.read_text().count("10 more classes") == 1
    assert facts["results"][0]["explanation"]["answer"]["classes"]["num_rest"] == 18
    html = page.read_text()
    assert html.index('id="meaning"') < html.index('id="results"')
    assert html.count("the other 18 classes") == 3
    assert "read by vectors:" in facts["settings"]["text"]
    assert "as a mixture of the 24 classes of colours" in html
    strongest = facts["results"][0]["explanation"]["words"]["words"]
    best = max(strongest, key=lambda one: one["shapley"])["text"]
    assert f"The text's strongest word is “{best}”" in facts["verdict"]
    classes = facts["results"][0]["explanation"]["answer"]["classes"]["largest"]
    most = max((one for one in classes if one["weight"] > 0), key=lambda one: one["value"])["name"]
    assert f"“{most}” adds most" in facts["verdict"]


def test_the_page_of_a_drawing_with_a_text_shows_what_the_text_adds(painted, manifest, tower, tmp_path):
    explainer = explainer_of(painted, manifest, tower)
    report = build_query_report(explainer, explainer.search_and_explain("ring/03.png", TEXT))
    html = report.save(tmp_path / "page.html").read_text()
    best = report.facts.results[0].explanation
    assert html.index('id="meaning"') < html.index('id="results"')
    assert html.count("<h4>What the text adds</h4>") == 3
    assert f"The text's part of the score is {best.answer.part:.3f}".replace("-", "−") in html
    assert "The drawing by the same classes" in html
    assert report.facts.reading.drawing
    assert report.facts.share == 0.5


def test_a_class_that_lowers_the_score_or_isn_t_meant_is_not_called_the_strongest(painted, manifest, tower):
    best = explainer_of(painted, manifest, tower).search_by_text(TEXT).explanations[0]
    unmeant = replace(best.answer.classes.largest[0], name="unmeant", weight=0.0, value=9.0)
    lowering = replace(unmeant, name="lowering", weight=0.5, value=-1.0)
    classes = replace(best.answer.classes, largest=(unmeant, lowering))
    verdict = describe_best_match([replace(best, answer=replace(best.answer, classes=classes))], 0.0)
    assert "adds most" not in verdict


def test_a_flat_reading_and_other_doubts_are_said_before_anything_else(painted, manifest, tower, tmp_path):
    explainer = explainer_of(painted, manifest, tower)
    clear = build_query_report(explainer, explainer.search_by_text("ember"))
    assert clear.facts.reading.classes[0].weight > MIN_LARGEST_WEIGHT
    assert clear.facts.warnings == ()
    tower.head.temperature = 3.0
    flat = "ember"
    weight = TextQueries(tower).read_text(flat).classes[0].weight
    assert weight < MIN_LARGEST_WEIGHT
    said = f"The text: it means none of the 24 classes clearly: the largest weight is only {weight:.2f} of 1."
    for explanation in (explainer.search_by_text(flat), explainer.search_and_explain("ring/03.png", flat)):
        report = build_query_report(explainer, explanation)
        assert said in report.facts.warnings
        html = report.save(tmp_path / "page.html").read_text()
        assert (
            html.index(said)
            < html.index('class="verdict"')
            < html.index('class="glance"')
            < html.index('id="results"')
        )
    tower.head.temperature = 0.3
    tower.describe_doubts = lambda text: [f"{text} is like no word"]
    doubtful = build_query_report(explainer, explainer.search_by_text("ember"))
    assert doubtful.facts.warnings == ("The text: ember is like no word.",)


def test_hostile_labels_definitions_and_texts_stay_text(manifest, tmp_path):
    labels = [f"{colour} {NASTY}" for colour in COLOURS]
    pages = {}
    for name, encoder in (("plain", Painted()), ("hostile", Painted(labels, [NASTY] * COUNT))):
        nasty = NASTY if name == "hostile" else ""
        tower = painted_tower(tmp_path, encoder, nasty)
        explainer = explainer_of(encoder.eval(), manifest, tower)
        text = f"ember {NASTY.replace(' ', '')}"
        for kind, explanation in (
            ("alone", explainer.search_by_text(text)),
            ("both", explainer.search_and_explain("ring/03.png", text)),
        ):
            report = build_query_report(explainer, explanation)
            pages[name, kind] = Elements(report.save(tmp_path / "page.html").read_text())
    for kind in ("alone", "both"):
        plain, hostile = pages["plain", kind], pages["hostile", kind]
        tags = [tag for tag, _ in hostile.tags]
        assert tags.count("img") == [tag for tag, _ in plain.tags].count("img")
        assert tags.count("script") == 2
        assert not [key for _, attributes in hostile.tags for key in attributes if key.startswith("on")]
        assert "".join(hostile.text).count("{{ 7*7 }}") > 20
        assert json.loads(hostile.blobs["facts"])["reading"]["classes"][0]["name"] in labels


def never_opened(*arguments, **more):
    raise AssertionError("a text encoder was loaded")


def index_of(photos, folder, model):
    shutil.copytree(photos, folder / "photos")
    return Retriever(model).index(folder / "photos", folder / "index")


def test_a_drawing_is_named_by_the_classes_without_a_text_encoder(painted, shapes, tmp_path):
    model = SearchModel(
        "painted",
        painted,
        "cpu",
        open_text_encoder=never_opened,
        open_vocabulary=lambda: classifier_text_side(painted),
    )
    index = index_of(shapes / "photo" / "ring", tmp_path, model)
    hits = index.search(sketch=shapes / "sketch" / "ring" / "03.png", k=4)
    report = hits.explain(top=2, draws=0, methods=("regions",))
    concepts = report.facts.results[0].explanation.concepts
    assert {one.name for one in (*concepts.drawing, *concepts.photo)} <= set(COLOURS)
    assert report.facts.settings["ideas"] == "the 24 classes of colours, by which texts are read"
    nameless = index_of(shapes / "photo" / "bar", tmp_path / "bar", SearchModel("none", Mean(), "cpu"))
    hits = nameless.search(sketch=shapes / "sketch" / "ring" / "03.png", k=4)
    assert hits.explain(top=2, draws=0).facts.results[0].explanation.concepts is None


def test_the_classes_are_compared_by_their_directions(painted):
    found = find_known_classes(painted, None)
    rows = painted.classifier().weight.detach()
    assert found.names == COLOURS
    assert torch.allclose(found.photo, F.normalize(rows - rows.mean(0), dim=1), atol=1e-6)
    assert torch.equal(found.photo, found.sketch)


def run_without_its_text_encoder(folder):
    """A run that reads text by colours with word vectors that are no longer there."""
    run = run_with_text(folder)
    encoder = RunFolder.open(run).encoder()
    vocabulary = ClassVocabulary("colours", COLOURS, ("",) * COUNT)
    side = VocabularySide(vocabulary, torch.randn(COUNT, 8), f"vectors:{folder / 'nowhere.txt'}")
    shutil.rmtree(run / "model")
    save_encoder(encoder, run / "model", write_extra=lambda place: save_text_tower(side, place))
    return run


def test_a_run_names_a_drawing_by_its_classes_without_its_text_encoder(shapes, tmp_path):
    run = run_without_its_text_encoder(tmp_path)
    request = ExplanationRequest(str(run), f"folder:{shapes}", ("ring/03.png",), top=2, draws=0)
    report, _ = run_explanation(request)
    concepts = report.facts.results[0].explanation.concepts
    assert {one.name for one in (*concepts.drawing, *concepts.photo)} <= set(COLOURS)
    with pytest.raises(DataError, match="nowhere"):
        run_explanation(replace(request, text="ember"))
    hits = (
        Retriever.load(run, device="cpu")
        .index(shapes / "photo" / "bar", tmp_path / "index")
        .search(sketch=shapes / "sketch" / "ring" / "03.png", k=2)
    )
    assert "24 classes of colours" in hits.explain(top=1, draws=0).facts.settings["ideas"]


def test_an_older_run_whose_teacher_is_away_has_no_classes(shapes, monkeypatch, tmp_path):
    def refuse(*run):
        raise EncoderError("its weights are not here")

    monkeypatch.setattr(RunFolder, "vocabulary_side", refuse)
    assert find_known_classes(Mean(), RunFolder(tmp_path)) is None
    model = SearchModel("older", Mean().eval(), "cpu", open_text_encoder=never_opened, open_vocabulary=refuse)
    index = index_of(shapes / "photo" / "bar", tmp_path, model)
    hits = index.search(sketch=shapes / "sketch" / "ring" / "03.png", k=2)
    assert hits.explain(top=1, draws=0).facts.results[0].explanation.concepts is None


@pytest.fixture
def beside(painted):
    """An encoder with a teacher's code beside its own, the classes' directions in it, and in its own code alone."""
    head = nn.Linear(3, 3, bias=False)
    head.weight.data = torch.tensor([[1.0, 0.2, 0.0], [0.0, 1.0, 0.3], [0.1, 0.0, 1.0]])
    own = classifier_text_side(painted)
    teacher_rows = centre_class_rows(torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(5)))
    return TeacherBesideEncoder(painted, Mean(), head).eval(), own.beside(teacher_rows), own


def test_with_a_teacher_beside_the_sums_hold_and_a_drawing_is_named_by_its_own_code(
    beside, painted, tower, shapes, tmp_path, monkeypatch
):
    both, side, own = beside
    run = run_with_text(tmp_path)
    monkeypatch.setattr(RunFolder, "encoder_with_teacher", lambda run: (both, side))
    monkeypatch.setattr(RunFolder, "vocabulary_side", lambda run: own)
    monkeypatch.setattr(vocabulary_tower, "load_text_encoder", lambda name, device: tower.encoder)
    dictionary = tower.head.dictionary
    monkeypatch.setattr(
        "ssl_sbir.fusion.vocabulary_tower.load_reverse_dictionary", lambda encoder: dictionary
    )
    request = ExplanationRequest(str(run), str(shapes), ("ring/03.png",), text=TEXT, top=2, draws=0)
    report, _ = run_explanation(request)
    assert "its teacher's code beside its own" in report.facts.settings["encoder"]
    for result in report.facts.results:
        answer = result.explanation.answer
        assert answer.part != pytest.approx(0, abs=1e-3)
        whole = sum(one.value for one in answer.classes.largest) + answer.classes.rest
        assert whole == pytest.approx(answer.part, abs=1e-5)
        assert sum(map(sum, answer.map.photo)) == pytest.approx(answer.part, abs=1e-5)
    with Image.open(shapes / "sketch" / "ring" / "03.png") as drawing:
        pixels = to_tensor(drawing.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC))[None]
    similar = torch.cosine_similarity(painted(pixels, torch.zeros(1, dtype=torch.int64)), tower.head.rows)
    nearest = report.facts.reading.drawing[0]
    assert nearest.name == COLOURS[int(similar.argmax())]
    assert nearest.score == pytest.approx(similar.max().item(), abs=1e-3)
    assert report.facts.results[0].explanation.concepts.drawing[0].name == nearest.name
    alone, _ = run_explanation(replace(request, queries=()))
    assert alone.facts.results[0].explanation.parts == {"text": alone.facts.results[0].explanation.score}


def test_a_run_that_was_trained_to_read_text_names_a_drawing_by_what_it_reads(shapes, tmp_path):
    run = run_with_text(tmp_path, "apple bear castle")
    retriever = Retriever.load(run, device="cpu").index(shapes / "photo" / "bar", tmp_path / "index")
    hits = retriever.search(sketch=shapes / "sketch" / "ring" / "03.png", k=2)
    assert hits.explain(top=1, draws=0).facts.settings["ideas"].startswith("3 names of classes")


def test_search_results_of_a_text_are_explained_with_the_scores_of_the_search(
    painted, tower, shapes, tmp_path
):
    model = SearchModel("painted", painted, "cpu", open_text_encoder=lambda: tower)
    index = index_of(shapes / "photo" / "ring", tmp_path, model)
    hits = index.search(text=f"{TEXT}, not grass", k=3)
    report = index.search(text=TEXT, k=3).explain(top=3)
    for hit, result in zip(index.search(text=TEXT, k=3), report.facts.results, strict=True):
        assert (result.id, result.explanation.score) == (hit.id, pytest.approx(hit.score, abs=1e-3))
    assert report.drawing is None
    assert report.facts.warnings == ()
    assert report.facts.settings["encoder"] == "painted"
    explained = hits.explain(top=1).facts
    assert explained.text == TEXT
    assert any("negated text" in warning for warning in explained.warnings)
    photo = shapes / "photo" / "bar" / "03.png"
    for more in ({}, {"text": TEXT, "weights": {"text": 0}}):
        with pytest.raises(QueryError, match="a drawing or a text"):
            index.search(photo=photo, k=2, **more).explain()


def test_a_named_encoder_explains_a_text(painted, tower, shapes, tmp_path, monkeypatch):
    place = "ssl_sbir.explain.run.explained_encoder"
    monkeypatch.setattr(f"{place}.load_encoder", lambda name: painted)
    monkeypatch.setattr(f"{place}.open_text_side", lambda encoder, name: tower)
    monkeypatch.chdir(tmp_path)
    done = command("painted", "--data", shapes, "--text", TEXT, "--top", 2)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "explanations" / "a-glow-of-ember-and-moss.html").is_file()
    assert done.stdout.splitlines()[0].startswith("  1  ")
    facts = json.loads((tmp_path / "explanations" / "a-glow-of-ember-and-moss.json").read_text())
    assert "ideas" not in facts["settings"]
    assert "paths between concepts" not in facts["settings"]
    monkeypatch.setattr(Painted, "text_source", "")
    refused = command("painted", "--data", shapes, "--text", TEXT)
    assert refused.exit_code == 2
    assert "reads drawings, no text" in refused.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no query"),
        (("--text", "  "), "no query"),
        (("--text", "red", "--methods", "regions"), "--methods without a drawing"),
        (
            ("--text", "red", "--expected", "a", "--semantics", "b"),
            "--expected, --semantics without a drawing",
        ),
    ],
)
def test_what_needs_a_drawing_is_refused_without_one(arguments, words, tmp_path):
    done = command(tmp_path, "--data", tmp_path, *arguments)
    assert done.exit_code == 2
    assert words in done.output
