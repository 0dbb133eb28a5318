"""Training methods, one file each; `load_recipe` finds one by name or in a file of your own."""

import importlib
import importlib.util
import inspect
import pkgutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ssl_sbir.errors import ConfigError
from ssl_sbir.recipes import finetuning, pretraining
from ssl_sbir.registry import did_you_mean
from ssl_sbir.training.recipe import RECIPES, Recipe

for _package in (pretraining, finetuning):
    for _module in pkgutil.iter_modules(_package.__path__):
        importlib.import_module(f"{_package.__name__}.{_module.name}")


def load_recipe(name: str) -> type[Recipe]:
    """The recipe of that name, or the one in a Python file.

    Args:
        name: a registered name, or a path that ends in `.py`.

    Raises:
        ConfigError: no recipe has that name, or the file holds none or several.
    """
    return _load_recipe_file(Path(name)) if name.endswith(".py") else RECIPES.get(name)


def _load_recipe_file(path: Path) -> type[Recipe]:
    if not path.is_file():
        raise ConfigError(f"no recipe file at {path}", f"Start from one: ssl-sbir recipes copy sake {path}")
    spec = importlib.util.spec_from_file_location(f"ssl_sbir_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with RECIPES.temporarily_empty():
        try:
            spec.loader.exec_module(module)
        except (SyntaxError, ImportError, AttributeError, NameError, TypeError) as error:
            raise ConfigError(f"{path} can't be imported: {error}", "Mend that file.") from error
    kinds = [k for k in vars(module).values() if inspect.isclass(k) and k.__module__ == module.__name__]
    found = [k for k in kinds if issubclass(k, Recipe) and k.name]
    if len(found) != 1:
        raise ConfigError(
            f"{path} holds {len(found)} recipes", "Define exactly one class with @register(name)."
        )
    return found[0]


def load_preset(name: str, kind: type[Recipe]) -> dict[str, Any]:
    """The settings of a named preset, made for that recipe.

    Raises:
        ConfigError: there is no such preset, or it belongs to another recipe.
    """
    known = preset_names()
    if name not in known:
        raise ConfigError(
            f"unknown preset '{name}'.{did_you_mean(name, known)}", f"Presets: {', '.join(known)}"
        )
    settings = yaml.safe_load((files(__name__) / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))
    if settings.pop("recipe") != kind.name:
        raise ConfigError(
            f"preset '{name}' is not made for '{kind.name}'", "ssl-sbir recipes list shows whose it is."
        )
    return dict(settings)


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    return sorted(f.name[:-5] for f in (files(__name__) / "presets").iterdir() if f.name.endswith(".yaml"))


def recipe_source(kind: type[Recipe]) -> str:
    """The text of the file that defines a recipe."""
    return Path(inspect.getfile(kind)).read_text(encoding="utf-8")


__all__ = ["RECIPES", "Recipe", "load_preset", "load_recipe", "preset_names", "recipe_source"]
