"""How the code is laid out: what `make lint` checks, and the map that CONTRIBUTING.md draws of it."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def structure():
    spec = importlib.util.spec_from_file_location("check_structure", ROOT / "scripts/check_structure.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write(root, files):
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_the_checkout_has_no_problem_and_keeps_its_figures(structure):
    tree = structure.Tree(ROOT)
    assert structure.structure_problems(tree) == []
    figures = structure.measure_tree(tree)
    assert figures["function names of one word, %"] < 45
    assert figures["functions and classes defined in several files"] < 15
    assert figures["files that share their name"] < 15


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"ssl_sbir/data/a.py": "from ssl_sbir.data.b import x", "ssl_sbir/data/b.py": "import ssl_sbir.data.a"},
            "in a circle: ssl_sbir.data.a, ssl_sbir.data.b",
        ),
        (
            {"ssl_sbir/files.py": "def read_it():\n    from ssl_sbir.data.a import x", "ssl_sbir/data/a.py": "x = 1"},
            "imports upwards: ssl_sbir.files -> ssl_sbir.data.a",
        ),
        (
            {"ssl_sbir/errors.py": "from ssl_sbir.explain.pair.a import x", "explain/pair/a.py": "x = 1"},
            "imports upwards: ssl_sbir.errors -> ssl_sbir.explain.pair.a",
        ),
        ({f"ssl_sbir/data/{n}.py": "SIDE = 1" for n in "abc"}, "'SIDE' is defined in 3 files"),
        ({"ssl_sbir/data/a.py": "class A:\n    def _drawn(self): ..."}, "a bare participle: ssl_sbir/data/a.py:2 _drawn"),
        ({"ssl_sbir/data/a.py": "def measured(): ..."}, "a bare participle: ssl_sbir/data/a.py:1 measured"),
        ({"ssl_sbir/attic/a.py": "x = 1"}, "not in ROOM_LEVELS: attic"),
    ],
)  # fmt: skip
def test_each_kind_of_problem_is_named(structure, tmp_path, files, problem):
    tree = structure.Tree(
        write(tmp_path, {"ssl_sbir/__init__.py": "", "ssl_sbir/data/__init__.py": "", **files})
    )
    assert any(problem in line for line in structure.structure_problems(tree))


def test_what_a_package_offers_lazily_counts_as_the_file_that_defines_it(structure, tmp_path):
    tree = structure.Tree(
        write(
            tmp_path,
            {
                "ssl_sbir/__init__.py": "",
                "ssl_sbir/data/__init__.py": "if TYPE_CHECKING:\n    from ssl_sbir.data.a import x as x",
                "ssl_sbir/data/a.py": "x = 1",
                "ssl_sbir/files.py": "from ssl_sbir.data import x",
            },
        )
    )
    assert tree.imports["ssl_sbir.files"] == {"ssl_sbir.data.a"}


def test_the_map_in_contributing_is_that_of_the_tree(structure):
    """To renew it: python scripts/check_structure.py --map."""
    assert structure.draw_map(structure.Tree(ROOT)) in (ROOT / "CONTRIBUTING.md").read_text()
