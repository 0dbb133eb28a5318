import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from ssl_sbir.explain import ExplainedQuery, explain_pairs
from ssl_sbir.explain.pair.explanation import ExplainedResult, GalleryScores
from ssl_sbir.explain.report.explanation_page import explanation_page
from ssl_sbir.explain.report.plain_words import cell_name, describe_best_match, region_name, strongest_region
from ssl_sbir.reports.render import json_text

NASTY = """"><img src=x onerror=alert(1)></script><script>alert('2')</script>{{ 7*7 }}&amp;"""


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.blobs, self._inside, self.text = [], {}, None, []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id", tag) if tag == "script" else None

    def handle_data(self, data):
        if self._inside:
            self.blobs[self._inside] = self.blobs.get(self._inside, "") + data
        self.text.append(data)

    def handle_endtag(self, tag):
        del tag
        self._inside = None


def answer(encoder, sketch, photos, name="spot"):
    known = explain_pairs(
        encoder, sketch, photos, query=name, results=[f"{name} {k}" for k in range(len(photos))]
    )
    results = tuple(
        ExplainedResult(rank, one.result, name, rank == 1, one) for rank, one in enumerate(known, 1)
    )
    scores = GalleryScores(9, -0.2, 0.1, max((one.score for one in known), default=0.0))
    settings = {"methods": name, "ssl-sbir": "0", "data": name}
    return ExplainedQuery(name, name, describe_best_match(known, 0.1), scores, results, settings, (name,))


def page_of(facts, photos=None):
    pictures = [Image.new("RGB", (50, 30), "red")] * len(facts.results) if photos is None else photos
    return explanation_page(facts, Image.new("RGB", (40, 40), "white"), pictures)


@pytest.fixture
def facts(spots, sketch, photos):
    return answer(spots, sketch, photos)


def test_hostile_names_stay_text(spots, sketch, photos):
    plain = Elements(page_of(answer(spots, sketch, photos)))
    hostile = Elements(page_of(answer(spots, sketch, photos, NASTY)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert not [name for _, attrs in hostile.tags for name in attrs if name.startswith("on")]
    assert hostile.blobs["script"] == plain.blobs["script"]
    assert json.loads(hostile.blobs["facts"])["query"] == NASTY
    assert "{{ 7*7 }}" in "".join(hostile.text)


def test_nothing_is_fetched(facts):
    html = page_of(facts)
    for tag, attrs in Elements(html).tags:
        for name in ("src", "href"):
            assert tag == "a" or attrs.get(name, "data:").startswith("data:")
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(http|//)|url\(|@import""", html)


def test_every_picture_has_a_size_and_every_photo_an_alt_text(facts):
    pictures = [attrs for tag, attrs in Elements(page_of(facts)).tags if tag == "img"]
    assert len(pictures) == 1 + 4 * len(facts.results)  # at a glance, two pictures, and the photo's map
    assert all(int(image["width"]) > 0 and int(image["height"]) > 0 and "alt" in image for image in pictures)
    assert any("strongest at the lower middle" in image["alt"] for image in pictures)


def test_facts_on_the_page_are_the_facts(facts):
    assert json.loads(Elements(page_of(facts)).blobs["facts"]) == json.loads(json_text(facts))
    assert (
        json.loads(json_text(facts))["results"][0]["explanation"]["score"]
        == facts.results[0].explanation.score
    )


def test_the_links_of_the_figure_and_of_the_list_belong_together(facts):
    tags = Elements(page_of(facts)).tags
    listed = [attrs["data-link"] for tag, attrs in tags if "link" in attrs.get("class", "").split()]
    drawn = [attrs["data-link"] for tag, attrs in tags if tag == "g"]
    assert sorted(listed) == sorted(drawn) != []


def test_a_photo_without_file_is_said_to_be_missing(facts):
    html = page_of(facts, [None, Image.new("RGB", (5, 5))])
    assert (
        html.count("file of this photo can&#39;t be read") + html.count("file of this photo can't be read")
        == 1
    )


def test_zero_similarity_and_no_feature_map_render(spots, mapless, sketch, photos):
    blank = page_of(answer(spots, sketch * 0 + 1, photos))
    assert "exactly zero" in blank
    assert "can't be split into pairs of regions" in page_of(answer(mapless, sketch, photos))


def test_no_result_renders(facts):
    empty = dataclasses.replace(facts, results=(), verdict=describe_best_match([], 0.0))
    assert "No results: there is no photo to explain" in page_of(empty)
    assert "No results: the gallery holds no photo" in page_of(empty)


def test_ten_results_stay_small(spots, sketch, photos):
    known = answer(spots, sketch, photos.repeat(5, 1, 1, 1))
    noise = Image.effect_noise((600, 400), 90)
    assert len(page_of(known, [noise] * 10).encode()) < 5_000_000


@pytest.mark.parametrize(
    ("cell", "name"),
    [((0, 0), "upper left"), ((1, 2), "centre"), ((2, 0), "left side"), ((3, 1), "lower middle")],
)
def test_places_of_a_four_by_four_grid(cell, name):
    assert region_name(*cell, 4, 4) == name


def test_cells_of_the_centre_are_told_apart():
    names = {cell_name(row, column, 4, 4) for row in (1, 2) for column in (1, 2)}
    assert names == {
        f"centre, {down} {across}" for down in ("upper", "lower") for across in ("left", "right")
    }
    assert cell_name(1, 1, 3, 3) == "centre"


def test_the_main_place_counts_what_is_added_and_its_area():
    grid = ((0.0, 0.0, 3.0), (0.0, 1.0, 0.0), (-5.0, 0.0, 0.0))
    assert strongest_region(grid) == ("upper right", 0.75, 1 / 9)


def test_the_verdict_names_the_place_and_refuses_chance(facts, spots, sketch, photos):
    assert "lower middle of the photo" in facts.verdict
    both = explain_pairs(spots, sketch, photos, methods=["regions"])
    assert "upper middle of the drawing" in describe_best_match(both, 0.1)
    zero = explain_pairs(spots, sketch * 0 + 1, photos)
    assert "no match" in describe_best_match(zero, 0.1)
