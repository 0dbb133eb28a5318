import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import ssl_sbir

ROOT = Path(__file__).parents[1]
OUTSIDE = ("explain", "recipes", "reports")


def folders():
    """Every folder with an __init__.py, under the name it is imported by."""
    for top in ("ssl_sbir", *OUTSIDE):
        for file in (ROOT / top).rglob("__init__.py"):
            name = ".".join(file.parent.relative_to(ROOT).parts)
            yield name if top == "ssl_sbir" else f"ssl_sbir.{name}"


def test_every_package_is_listed_and_nothing_else():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(folders())


def test_package_data_is_found_wherever_the_package_lies():
    for package, name in (
        ("ssl_sbir", "py.typed"),
        ("ssl_sbir.data", "splits/sketchy-sake-25.json"),
        ("ssl_sbir.recipes", "presets/quickstart-sake.yaml"),
        ("ssl_sbir.reports", "templates/_base.html.j2"),
    ):
        assert files(package).joinpath(name).is_file(), name


@pytest.mark.parametrize("name", sorted(ssl_sbir._LAZY_EXPORTS))
def test_public_names_are_there(name):
    assert getattr(ssl_sbir, name).__name__ == name
    assert name in dir(ssl_sbir)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ssl_sbir.nonsense
