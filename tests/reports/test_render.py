import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from ssl_sbir.errors import SslSbirError
from ssl_sbir.reports.render import (
    format_decimals,
    format_percent,
    json_blob,
    json_text,
    render_template,
    write_html_page,
)

NASTY = """</script><script>alert("1")</script>&'\u2028<!--"""


def own(folder: Path, text: str) -> Path:
    (folder / "mine.html.j2").write_text(text)
    return folder


def test_the_base_asks_nothing_of_the_network():
    html = render_template("_base.html.j2", {})
    assert "default-src 'none'" in html
    assert not [part for part in ('src="http', 'href="http', "url(", "@import") if part in html]


def test_everything_is_escaped(tmp_path):
    html = render_template(
        "mine.html.j2", {"name": NASTY}, own(tmp_path, '<p title="{{ name }}">{{ name }}</p>')
    )
    assert "<script" not in html
    assert html.count("<p") == 1
    assert 'title="&lt;/script&gt;' in html


def test_a_missing_fact_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SslSbirError, match="colour"):
        render_template("mine.html.j2", {}, own(tmp_path, "{{ colour }}"))


def test_a_missing_and_a_broken_template_say_so(tmp_path):
    with pytest.raises(SslSbirError, match=r"nothing\.html\.j2: not found"):
        render_template("nothing.html.j2", {}, tmp_path)
    with pytest.raises(SslSbirError, match=r"mine\.html\.j2, line 2"):
        render_template("mine.html.j2", {}, own(tmp_path, "a\n{% if %}"))


def test_a_template_of_ones_own_may_extend_the_packaged_one(tmp_path):
    template = '{% extends "package/_base.html.j2" %}{% block title %}{{ name }}{% endblock %}'
    html = render_template("mine.html.j2", {"name": "a < b"}, own(tmp_path, template))
    assert "<title>a &lt; b</title>" in html
    assert "prefers-color-scheme: dark" in html


def test_a_folder_of_templates_comes_before_the_package(tmp_path):
    (tmp_path / "_base.html.j2").write_text("mine")
    assert render_template("_base.html.j2", {}, tmp_path) == "mine"


def test_json_in_a_page_cannot_end_its_element_and_reads_back():
    blob = json_blob({"class": NASTY})
    assert not set("<>&\u2028") & set(blob)
    assert json.loads(blob) == {"class": NASTY}


@dataclass(frozen=True)
class Fact:
    score: float
    path: Path
    pairs: tuple[tuple[int, int], ...]


def test_json_of_dataclasses_arrays_and_numbers_that_json_lacks():
    np = pytest.importorskip("numpy")
    facts = {"fact": Fact(math.nan, Path("a/b"), ((1, 2),)), "map": np.eye(2), "one": np.float32(1)}
    assert json.loads(json_text(facts)) == {
        "fact": {"score": None, "path": "a/b", "pairs": [[1, 2]]},
        "map": [[1.0, 0.0], [0.0, 1.0]],
        "one": 1.0,
    }


def test_numbers_for_people():
    assert format_decimals(-0.12345) == "−0.123"
    assert format_decimals(None) == format_decimals(math.nan) == format_percent(None) == "–"
    assert format_percent(0.715) == "72 %"
    assert format_percent(-0.04, 1) == "−4.0 %"


def test_a_page_is_written_whole(tmp_path):
    assert write_html_page(tmp_path / "deep" / "a.html", "é").read_text() == "é"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.html"]
