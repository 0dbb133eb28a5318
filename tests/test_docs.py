"""The pages of commands and recipes can be made, leave nothing undescribed, and no link of any page is broken."""

import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def docs():
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "scripts" / "build_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_made_and_nothing_is_undescribed_or_broken(docs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build_docs.py", "--out", str(tmp_path)])
    assert docs.main() == 0, capsys.readouterr().err
    commands, recipes = ((tmp_path / f"{name}.md").read_text() for name in ("commands", "recipes"))
    for name in ("pretrain", "data verify", "study labels"):
        assert f"## ssl-sbir {name}" in commands
    assert "`--resume`" in commands
    assert "ICCV 2019" in recipes
    assert "| `optim.lr` |" in recipes


def test_a_broken_link_is_found(docs, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n[one](absent.md) [two](#a-page) [three](#b) `[four](no.md)` [five](https://x.org)\n"
    )
    found = list(docs.broken_links(page))
    assert [problem.split(": ")[1] for problem in found] == [
        "absent.md is not there",
        "#b has no such heading",
    ]


def test_the_citation_agrees_with_the_package():
    import ssl_sbir

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == ssl_sbir.__version__
    assert cited["license"] == "Apache-2.0"
    assert cited["authors"] == [{"name": "The ssl-sbir developers"}]
