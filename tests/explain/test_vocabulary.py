from dataclasses import replace

import numpy as np
import pytest
import torch
from texts_for_tests import Mean, Tower, run_with_text

from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import load_encoder, save_encoder
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.run.explanation_request import ExplanationRequest, run_explanation
from ssl_sbir.explain.run.query_drawing import find_query_rows
from ssl_sbir.explain.text.concept_vocabulary import class_prototypes, sketch_prototypes, text_vocabulary
from ssl_sbir.run import RunFolder

SEEN = ("circle", "square", "triangle", "bar")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return load_encoder("timm:test_efficientnet", size=64, pretrained=False).eval()


def slow_means(encoder, manifest, rows, domain):
    pack = prepare_pack(manifest, encoder.preprocess.size)
    with torch.no_grad():
        each = encoder(pack.read_images(rows).float() / 255, torch.full((len(rows),), int(domain)))
    return torch.stack([vector / vector.norm() for vector in each]).mean(0)


def test_prototypes_are_means_of_each_domain(encoder, manifest):
    found = class_prototypes(encoder, manifest, ["circle", "square", "nothing_of_that_name"], per_class=12)
    assert found.names == ("circle", "square")
    slow = slow_means(encoder, manifest, manifest.find_rows(Domain.PHOTO, ["square"]), Domain.PHOTO)
    assert torch.allclose(found.photo[1], slow, atol=1e-4)
    assert not torch.allclose(found.photo, found.sketch, atol=1e-3)
    assert class_prototypes(encoder, manifest, ["circle"]) is None


def test_drawn_prototypes_are_means_of_other_drawings_moved_to_the_photos(encoder, manifest):
    photos = torch.randn(9, encoder.width)
    asked = int(manifest.find_rows(Domain.SKETCH, ["ring"])[3])
    found = sketch_prototypes(
        encoder, manifest, ["ring", "cross"], photos, excluded_rows=[asked], per_class=12
    )
    rows = [row for row in manifest.find_rows(Domain.SKETCH, ["ring"]) if row != asked]
    assert torch.allclose(
        found.sketch[0], slow_means(encoder, manifest, np.array(rows), Domain.SKETCH), atol=1e-4
    )
    centre = torch.stack([photo / photo.norm() for photo in photos]).mean(0)
    assert torch.allclose(found.photo.mean(0), centre, atol=1e-5)
    assert torch.allclose(found.photo[0] - found.photo[1], found.sketch[0] - found.sketch[1], atol=1e-5)
    assert sketch_prototypes(encoder, manifest, ["ring"], photos) is None


def test_the_asked_drawing_is_known_by_key_row_and_file(manifest, shapes):
    row = int(manifest.find_rows(Domain.SKETCH, ["ring"])[3])
    queries = ["ring/03.png", str(row), str(shapes / "sketch" / "ring" / "03.png"), "nothing.png"]
    assert find_query_rows(queries, manifest) == [row] * 3


def test_texts_are_a_vocabulary_less_what_is_not_understood():
    found = text_vocabulary(Tower(Mean()), ["red", "the_round", "zebra", "red"], "names")
    assert found.names == ("red", "the_round")
    assert found.source == "2 names, embedded by the run's text encoder"
    assert torch.equal(found.photo[0], torch.eye(3)[0])
    assert text_vocabulary(Tower(Mean()), ["red", "zebra"], "names") is None


def concepts_with(data, encoder, vocabulary, classes):
    explainer = Explainer(encoder, data, classes, top=3, draws=0, near_misses=0, vocabulary=vocabulary)
    return explainer.search_and_explain("sketch/ring/03.png").explanations


def test_the_label_of_a_photo_that_is_searched_is_never_used(encoder, manifest):
    for classes in (("ring", "cross"), None):
        photos = manifest.find_rows(Domain.PHOTO, classes)
        mixed = manifest.label.copy()
        mixed[photos] = np.roll(mixed[photos], 7)
        if classes is None:
            searched = Explainer(encoder, manifest).gallery.embeddings
            made = [
                sketch_prototypes(encoder, data, SEEN, searched)
                for data in (manifest, replace(manifest, label=mixed))
            ]
        else:
            made = [
                class_prototypes(encoder, data, SEEN) for data in (manifest, replace(manifest, label=mixed))
            ]
        found = [
            concepts_with(data, encoder, words, classes)
            for data, words in zip((manifest, replace(manifest, label=mixed)), made, strict=True)
        ]
        assert found[0] == found[1]
        assert found[0][0].concepts is not None


def explained(run, shapes, page, **more):
    report, place = run_explanation(
        ExplanationRequest(str(run), f"folder:{shapes}", ("ring/03.png",), top=2, draws=0, out=page, **more)
    )
    return report.facts, place.read_text("utf-8")


def test_all_photos_are_named_by_drawings_alone_and_the_page_says_so(encoder, shapes, tmp_path):
    split = {"name": "shapes", "seen": SEEN, "unseen": ("ring", "cross")}
    RunFolder.create(tmp_path / "run", "", {"recipe": "none", "split": split})
    save_encoder(encoder, tmp_path / "run" / "model")
    facts, html = explained(tmp_path / "run", shapes, tmp_path / "a.html", gallery="all")
    assert {near.name for near in facts.results[0].explanation.concepts.photo} <= set(SEEN)
    assert "4 classes: means of up to 6 drawings" in facts.settings["ideas"]
    assert "without any photo" in html
    facts, html = explained(tmp_path / "run", shapes, tmp_path / "b.html")
    assert "4 classes that are not searched" in facts.settings["ideas"]
    facts, html = explained(tmp_path / "run", shapes, tmp_path / "c.html", ideas=False)
    assert facts.results[0].explanation.concepts is None
    assert facts.settings["ideas"].startswith("none")


def test_a_run_that_reads_text_names_photos_by_words(shapes, tmp_path):
    run = run_with_text(tmp_path, "apple bear castle")
    facts, html = explained(run, shapes, tmp_path / "a.html")
    assert {near.name for near in facts.results[0].explanation.concepts.photo} <= {"apple", "bear", "castle"}
    assert facts.settings["ideas"].startswith("3 names of classes")
    assert "embedded by the run&#39;s text encoder" in html
