"""Recipes read from their files: what is said without importing them is what they say when imported."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from ssl_sbir import recipes
from ssl_sbir.errors import ConfigError
from ssl_sbir.training import recipe_catalog

MINE = '''"""Mine: a recipe of my own.

It does what simclr does.
"""

from pydantic import Field

from ssl_sbir.recipes.pretraining.simclr import Simclr, SimclrConfig
from ssl_sbir.training.recipe import register_recipe


class MineConfig(SimclrConfig):
    """Settings of mine."""

    warmth: float = Field(0.5, description="how warm")


@register_recipe("mine")
class Mine(Simclr):
    """Mine."""

    Config = MineConfig
    summary = "a recipe of my own"
'''


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def run(*arguments):
    command = [sys.executable, "-m", "ssl_sbir", "recipes", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", recipes.recipe_names())
def test_a_file_says_what_its_imported_recipe_says(name):
    kind, info = recipes.load_recipe(name), recipes.recipe_info(name)
    assert (info.name, info.stage, info.summary, info.paper) == (
        kind.name,
        kind.stage,
        kind.summary,
        kind.paper,
    )
    settings = recipes.recipe_settings(name)
    assert settings is not kind.Config
    assert settings.model_json_schema() == kind.Config.model_json_schema()
    assert settings().model_dump() == kind.Config().model_dump()


def test_settings_of_every_recipe_are_read_without_torch():
    program = (
        "import sys; from ssl_sbir import recipes; [recipes.recipe_settings(name) for name in recipes.recipe_names()];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_file_of_ones_own_is_shown_with_its_docstring_and_settings(mine):
    shown = run("show", mine)
    assert shown.returncode == 0, shown.stderr
    assert "It does what simclr does." in shown.stdout
    assert "warmth" in shown.stdout
    assert "how warm" in shown.stdout


def test_a_file_of_ones_own_is_copied(mine, tmp_path):
    copied = run("copy", mine, tmp_path / "other.py")
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "other.py").read_text() == MINE
    assert f"ssl-sbir pretrain {tmp_path / 'other.py'}" in " ".join(copied.stderr.split())


def test_two_files_of_one_name_are_two_recipes(mine, tmp_path):
    other = tmp_path / "elsewhere/mine.py"
    other.parent.mkdir()
    other.write_text(MINE.replace("a recipe of my own", "another").replace('"how warm"', '"how hot"'))
    assert recipes.recipe_info(str(mine)).summary == "a recipe of my own"
    assert recipes.recipe_info(str(other)).summary == "another"
    assert recipes.load_recipe(str(mine)).summary == "a recipe of my own"


def test_a_file_is_executed_once_however_often_it_is_asked_for(mine):
    mine.write_text(MINE + "\nprint('executed')\n")
    command = [sys.executable, "-c", """
import sys
from ssl_sbir import recipes
for _ in range(2):
    recipes.recipe_info(sys.argv[1]), recipes.recipe_settings(sys.argv[1]), recipes.load_recipe(sys.argv[1])
""", str(mine)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "executed\n"


def test_a_recipe_of_another_package_that_fails_is_named_and_the_others_are_listed(monkeypatch):
    broken = EntryPoint("theirs", "nothing_of_that_name:Theirs", "ssl_sbir.recipes")
    no_recipe = EntryPoint("path", "pathlib:Path", "ssl_sbir.recipes")
    monkeypatch.setattr(recipe_catalog, "_entry_points", lambda: {"theirs": broken, "path": no_recipe})
    with pytest.raises(
        ConfigError, match="'theirs' can't be imported: No module named 'nothing_of_that_name'"
    ):
        recipes.load_recipe("theirs")
    with pytest.raises(ConfigError, match="'path' is no recipe of that name"):
        recipes.load_recipe("path")
    summaries = {info.name: info.summary for info in recipes.recipe_infos()}
    assert "can't be imported" in summaries["theirs"]
    assert summaries["simclr"] == "two views of the same image agree"


def test_a_changed_file_is_read_again(mine):
    recipes.load_recipe(str(mine))
    mine.write_text(MINE.replace("a recipe of my own", "changed"))
    assert recipes.load_recipe(str(mine)).summary == "changed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", "can't be imported"),
        ("import nothing_of_that_name", "can't be imported"),
        ("x = 1", "holds 0 recipes"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    file = tmp_path / "wrong.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        recipes.load_recipe(str(file))
    assert not [name for name in sys.modules if name.startswith("ssl_sbir_recipe_wrong")] or text == "x = 1"


def test_an_unknown_name_gets_the_closest_one():
    with pytest.raises(ConfigError, match=r"unknown recipe 'simclrr'. Did you mean 'simclr'\?"):
        recipes.load_recipe("simclrr")
    with pytest.raises(ConfigError, match="unknown preset 'sake-publishd'"):
        recipes.load_preset("sake-publishd", "sake")
    with pytest.raises(ConfigError, match="not made for 'simclr'"):
        recipes.load_preset("sake-published", "simclr")
