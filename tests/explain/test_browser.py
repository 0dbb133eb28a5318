"""The pages in a browser: hostile names do no harm, the keyboard reaches everything, axe-core finds nothing serious."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from facts_for_tests import whole_facts
from PIL import Image
from texts_for_tests import COLOURS, Mean, Painted, Tower, explainer_of, painted_tower

from ssl_sbir.data.readers import open_data
from ssl_sbir.explain import explain_pairs
from ssl_sbir.explain.report.explanation_page import explanation_page
from ssl_sbir.explain.run.explain_many import ExplanationIndex, IndexEntry, index_page
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.reports.page_images import to_page_image
from ssl_sbir.search.model import SearchModel
from ssl_sbir.search.retriever import Retriever

NASTY = """"><img src=x onerror=alert(1)></script><script>alert('2')</script>{{ 7*7 }}&amp;"""
HOSTILE_FILE = '"><img src=x onerror=alert(1)>.png'
HARM = "Boolean(document.querySelector('img[src=x]')) || document.body.innerText.includes('49&')"
# axe.min.js of npm's axe-core, which is no part of this repository.
AXE = os.environ.get("SSL_SBIR_AXE", "")


@pytest.fixture
def page(spots, sketch, photos, tmp_path):
    pictures = [Image.new("RGB", (50, 30), "red"), None]
    facts = whole_facts(spots, sketch, photos, NASTY)
    html = explanation_page(facts, Image.new("RGB", (40, 40), "white"), pictures, beaten_photos=[None])
    (tmp_path / "page.html").write_text(html)
    return (tmp_path / "page.html").as_uri()


@pytest.fixture
def index(tmp_path):
    entries = [
        IndexEntry(NASTY, NASTY, NASTY, "worst", 0.1, "a.html", 0.3, 0, 2, NASTY, NASTY),
        IndexEntry("b", "ring", "", "best", 0.9, "b.html", 0.7, 2, 2, "fine", ""),
    ]
    thumb = to_page_image(Image.new("RGB", (20, 20), "red"))
    facts = ExplanationIndex(tmp_path / "index.html", tuple(entries), ((NASTY, NASTY),), {"ssl-sbir": "0"})
    facts.page.write_text(index_page(facts, [[thumb, None], [thumb, thumb]]))
    return facts.page.as_uri()


@pytest.fixture
def page_of_text(shapes, tmp_path):
    """Why photos were found for a text that is read by hostile classes."""
    hostile = Painted([f"{colour} {NASTY}" for colour in COLOURS], [NASTY] * len(COLOURS)).eval()
    tower = painted_tower(tmp_path, hostile, NASTY)
    explainer = explainer_of(hostile, open_data(f"folder:{shapes}"), tower)
    report = build_query_report(explainer, explainer.search_by_text(f"glow ember {NASTY}"))
    return report.save(tmp_path / "text.html").as_uri()


@pytest.fixture
def search_pages(shapes, tmp_path):
    """Why hits came back for a drawing with a hostile text and file name and for that text, and the sheet of the hits."""
    encoder = Mean().eval()
    shutil.copytree(shapes / "photo" / "ring", tmp_path / "photos")
    shutil.copy(shapes / "sketch" / "ring" / "03.png", tmp_path / HOSTILE_FILE)
    model = SearchModel("mean", encoder, "cpu", Tower(encoder))
    found = Retriever(model).index(tmp_path / "photos", tmp_path / "index")
    hits = found.search(sketch=tmp_path / HOSTILE_FILE, text=f"red {NASTY}", k=4)
    alone = found.search(text=f"red {NASTY}", k=4).explain(top=3)
    pages = (
        hits.explain(top=3, draws=1).save(tmp_path / "why.html"),
        alone.save(tmp_path / "alone.html"),
        hits.save(tmp_path / "sheet.html"),
    )
    return [page.as_uri() for page in pages]


def opened(browser, address, width, scheme="light"):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.wrong = []
    tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
    tab.on("dialog", lambda dialog: (tab.wrong.append("dialog"), dialog.dismiss()))
    tab.goto(address)
    return tab


def test_hostile_names_do_no_harm_on_a_page_with_every_section(browser, page):
    tab = opened(browser, page, 400)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    for section in ("meaning", "results", "lost", "changes", "trust", "reading", "run"):
        assert tab.locator(f"#{section}").count() == 1
    assert tab.locator(".path-graph").count() == 2
    assert tab.locator(".path-graph rect").count() == 2 * 3
    assert tab.locator(".path-graph .arrow").count() == 2 * 2
    assert NASTY in tab.locator("#results h3").first.text_content()
    assert not tab.evaluate(HARM)
    assert not tab.wrong


def test_links_slider_and_facts_work_by_keyboard(browser, page):
    tab = opened(browser, page, 1400)
    tab.focus(".link")
    assert tab.locator(".pair.choosing .match.chosen").count() == 1
    tab.keyboard.press("Enter")
    tab.focus("#heat")
    assert tab.get_attribute(".link", "aria-pressed") == "true"
    tab.keyboard.press("ArrowLeft")
    assert tab.inner_text("#heat-value") == "70 %"
    tab.locator("#run summary").press("Enter")
    tab.wait_for_function("document.getElementById('facts-shown').textContent.includes('results')")
    assert not tab.wrong


def test_every_section_says_what_it_shows(browser, page, index):
    for address in (page, index):
        tab = opened(browser, address, 800)
        sections = tab.locator("section.section")
        leads = sections.locator("> .lead")
        assert sections.count() == leads.count() > 1
        assert all(lead.strip().endswith(".") for lead in leads.all_inner_texts())


def test_the_filters_of_the_index(browser, index):
    tab = opened(browser, index, 400)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert tab.inner_text("#said") == "2 of 2"
    tab.select_option("#first", "some")
    assert tab.locator("#queries > li:visible").count() == 1
    tab.select_option("#first", "")
    tab.select_option("#kind", "worst")
    assert NASTY in tab.locator("#queries > li:visible h3").text_content()
    tab.select_option("#kind", "")
    tab.select_option("#order", "best")
    assert tab.locator("#queries > li h3").first.inner_text() == "b"
    tab.fill("#search", "nothing of that name")
    assert tab.inner_text("#said") == "0 of 2"
    assert not tab.evaluate(HARM)
    assert not tab.wrong


def test_hostile_text_does_no_harm_on_the_pages_of_a_search(browser, search_pages):
    for address in search_pages:
        tab = opened(browser, address, 400)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert "{{ 7*7 }}" in tab.locator("body").text_content()
        assert not tab.evaluate(HARM)
        assert not tab.wrong
    tab = opened(browser, search_pages[0], 1400)
    assert tab.locator(".words").count() == 3
    assert tab.locator(".words tr").count() == 3 * len(f"red {NASTY}".split())
    assert "not in the vocabulary and skipped" in tab.inner_text(".note")
    assert tab.locator("h2", has_text="Effect of changing the text").count() == 1


def test_the_page_of_a_text_works_narrow_dark_and_by_keyboard(browser, page_of_text):
    tab = opened(browser, page_of_text, 400, "dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    for section in ("meaning", "results", "reading", "run"):
        assert tab.locator(f"#{section} > .lead").count() == 1
    assert tab.locator(".pair .heat:visible").count() == 3
    tab.focus("#heat")
    tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#heat-value") == "80 %"
    tab.locator("#run summary").press("Enter")
    tab.wait_for_function("document.getElementById('facts-shown').textContent.includes('entries_share')")
    assert not tab.evaluate(HARM)
    assert not tab.wrong


def test_another_method_s_map_leaves_the_text_s_map_in_place(browser, spots, sketch, photos, tmp_path):
    facts = whole_facts(spots, sketch, photos, "plain")
    known = explain_pairs(spots, sketch, photos, methods=["regions", "occlusion"])
    results = [
        replace(result, explanation=replace(result.explanation, maps=one.maps))
        for result, one in zip(facts.results, known, strict=True)
    ]
    pictures = [Image.new("RGB", (50, 50), "red")] * 2
    html = explanation_page(
        replace(facts, results=tuple(results)), Image.new("RGB", (40, 40)), pictures, beaten_photos=[None]
    )
    (tmp_path / "page.html").write_text(html)
    tab = opened(browser, (tmp_path / "page.html").as_uri(), 1400)
    assert tab.locator(".answer .heat:visible").count() == 2
    tab.click("[data-show=occlusion]")
    assert tab.locator(".answer .heat:visible").count() == 2
    assert tab.locator(".pair .heat[data-method=occlusion]:visible").count() == 4


@pytest.mark.skipif(not AXE, reason="SSL_SBIR_AXE doesn't name axe-core's axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, page, index, page_of_text, search_pages, scheme):
    for address in (page, index, page_of_text, *search_pages):
        tab = opened(browser, address, 1400, scheme)
        tab.evaluate(Path(AXE).read_text())
        found = tab.evaluate("axe.run()")["violations"]
        serious = [
            (it["id"], [node["html"] for node in it["nodes"]][:3])
            for it in found
            if it["impact"] in ("serious", "critical")
        ]
        assert not serious
