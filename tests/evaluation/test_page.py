"""The results page: whole in one file or a folder, readable by keyboard and without colours."""

import json
import re

import numpy as np
import pytest

from ssl_sbir.evaluation.metrics.confusion import compute_confusion
from ssl_sbir.evaluation.report import results_page_facts as page
from ssl_sbir.evaluation.report.embedding_map import embedding_map
from ssl_sbir.evaluation.report.thumbnail_sheets import SHEET_COLUMNS, THUMBNAIL_SIDE, build_sheets
from ssl_sbir.evaluation.report.write_results import save_evaluation


@pytest.fixture
def written(evaluated, tmp_path):
    return save_evaluation(evaluated, tmp_path / "evaluation")


def test_the_page_is_one_file_that_asks_for_nothing(written):
    html = written.read_text()
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]+"', html)
    assert 'url("data:image/webp;base64,' in html
    assert sorted(file.name for file in written.parent.iterdir()) == [
        "index.html",
        "ranking.safetensors",
        "results.json",
    ]


def test_many_thumbnails_go_into_a_folder(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE_BYTES", 100)
    html = save_evaluation(evaluated, tmp_path / "evaluation").read_text()
    assert (tmp_path / "evaluation" / "thumbs" / "000.webp").is_file()
    assert 'url("thumbs/000.webp")' in html


def test_the_browser_lists_sketches_worst_first_with_their_results(written, evaluated):
    blob = re.search(
        r'<script type="application/json" id="browser">(.*?)</script>', written.read_text(), re.S
    )
    browser = json.loads(blob[1])
    assert browser["values"] == sorted(browser["values"])
    assert len(browser["sketches"]) == 36
    worst = int(np.argsort(evaluated.result.values["standard"]["mAP@all"].numpy(), kind="stable")[0])
    right = [browser["photos"][str(place)][0] == browser["labels"][0] for place in browser["results"][0]]
    assert right == evaluated.ranking.relevant[worst].tolist()


def test_hostile_names_stay_text(evaluated, tmp_path):
    from dataclasses import replace

    named = replace(evaluated, result=replace(evaluated.result, name="</script><b>x"))
    html = save_evaluation(named, tmp_path / "e").read_text()
    assert "<b>x" not in html


def test_a_sheet_shows_each_row_in_its_place(evaluated):
    import io

    from PIL import Image

    pack, rows = evaluated.test_set.pack, evaluated.test_set.queries
    found = build_sheets(pack, np.concatenate([rows, rows]))
    sheet = np.asarray(Image.open(io.BytesIO(found.images[0])).convert("L"), float)
    for row in rows[[0, 7, 35]]:
        y, x = divmod(int(found.thumbnail_indices(np.array([row]))[0]), SHEET_COLUMNS)
        tile = sheet[
            y * THUMBNAIL_SIDE : (y + 1) * THUMBNAIL_SIDE, x * THUMBNAIL_SIDE : (x + 1) * THUMBNAIL_SIDE
        ]
        small = (
            Image.fromarray(pack.images[row])
            .convert("L")
            .resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR)
        )
        assert np.abs(tile - np.asarray(small, float)).mean() < 12


def test_confusion_counts_what_came_back(evaluated):
    found, features = compute_confusion(evaluated.features, evaluated.ranking), evaluated.features
    for row, asked in enumerate(features.query_labels.unique().tolist()):
        came = (
            features.gallery_labels[evaluated.ranking.ids[features.query_labels == asked]].flatten().tolist()
        )
        assert found.table[row].tolist() == pytest.approx([came.count(c) / len(came) for c in range(3)])
    shares = [share for _, _, share in found.pairs]
    assert shares == sorted(shares, reverse=True)
    assert all(one != other for one, other, _ in found.pairs)


def test_the_map_holds_every_class_inside_its_frame(evaluated):
    flat = embedding_map(evaluated.features, points=30)
    assert len(flat.queries) == len(flat.gallery) == 15
    assert set(evaluated.features.gallery_labels[flat.gallery].tolist()) == {0, 1, 2}
    for places in flat.coordinates.values():
        assert places.shape == (30, 2)
        assert 0 <= places.min() <= places.max() <= 1


def test_the_page_works_by_keyboard_in_a_browser(written, browser):
    tab = browser.new_page(viewport={"width": 400, "height": 800})
    wrong = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.goto(written.as_uri())
    assert tab.locator("#sketch-list > li").count() == 12
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    tab.focus("#after")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#position") == "13 to 24 of 36"
    tab.select_option("#only", label="ring")
    assert set(tab.locator("#sketch-list h3").all_inner_texts()) == {"ring"}
    marks = tab.locator("#sketch-list > li").first.locator(".label").all_inner_texts()
    assert {mark[0] for mark in marks} <= {"✓", "✗"}
    tab.focus("#map-1")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#map-1 .tip").is_visible()
    assert re.match(r"(sketch|photo) of (ring|square|triangle)", tab.inner_text("#map-announcement"))
    tab.click("[data-map=map-2]")
    assert tab.locator("#map-2").is_visible()
    assert not wrong
    tab.close()
