"""Recipes by name, as their files describe them: a name, a stage or a setting is read without importing torch.

The files below `recipes/` are read as text (`ast`). A recipe's code is imported when it is asked for by `load_recipe`.
"""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml

from ssl_sbir.errors import ConfigError, SslSbirError
from ssl_sbir.files import sha256_of
from ssl_sbir.registry import did_you_mean

if TYPE_CHECKING:
    from ssl_sbir.training.recipe import Recipe
    from ssl_sbir.training.settings import RecipeConfig

RECIPE_PACKAGE = "ssl_sbir.recipes"
Stage = Literal["pretraining", "finetuning"]
STAGES: tuple[Stage, ...] = ("pretraining", "finetuning")


@dataclass(frozen=True)
class RecipeInfo:
    """What is known of a recipe before it is imported.

    Attributes:
        name: what the command line calls it.
        stage: "pretraining" (reads no label) or "finetuning".
        summary: what it does, in one line.
        paper: first author and year.
        module: the module that defines it.
    """

    name: str
    stage: Stage
    summary: str
    paper: str
    module: str


@cache
def built_in_recipes() -> Mapping[str, RecipeInfo]:
    """The recipes of this project, by name."""
    infos = (
        _read_info(f"{RECIPE_PACKAGE}.{stage}.{name}") for stage in STAGES for name in _module_names(stage)
    )
    return {info.name: info for info in infos if info}


def recipe_infos() -> list[RecipeInfo]:
    """Every recipe, those of other packages (entry points `ssl_sbir.recipes`) included; pretraining first."""
    others = (_entry_point_info(name) for name in _entry_points())
    infos = {info.name: info for info in (*others, *built_in_recipes().values())}.values()
    return sorted(infos, key=lambda info: (STAGES.index(info.stage), info.name))


def recipe_names() -> list[str]:
    """The names that `load_recipe` takes, sorted."""
    return sorted({*built_in_recipes(), *_entry_points()})


def recipe_info(name: str) -> RecipeInfo:
    """What is known of the recipe of that name, or of the one in a Python file.

    Args:
        name: a recipe's name, or a path that ends in `.py`.

    Raises:
        ConfigError: no recipe has that name, or the file holds none or several.
    """
    return built_in_recipes().get(name) or _info_of_class(load_recipe(name))


def recipe_settings(name: str) -> "type[RecipeConfig]":
    """The settings class of a recipe.

    That of a recipe of this project is built from its source alone and equals the one that `load_recipe(name).Config`
    is. Other recipes are imported.

    Raises:
        ConfigError: as `recipe_info` does.
    """
    info = built_in_recipes().get(name)
    if info is None:
        return load_recipe(name).Config
    return cast("type[RecipeConfig]", _settings_namespace(info.module)[_config_name(info.module)])


def load_recipe(name: str) -> "type[Recipe[Any, Any]]":
    """The recipe of that name, or the one in a Python file; imports its code.

    Args:
        name: a recipe's name, or a path that ends in `.py`.

    Raises:
        ConfigError: no recipe has that name, or the file holds none or several.
    """
    if name.endswith(".py"):
        return _load_recipe_file(Path(name))
    if name in built_in_recipes():
        return _only_recipe(import_module(built_in_recipes()[name].module), name)
    if name in _entry_points():
        return _load_entry_point(name)
    raise ConfigError(
        f"unknown recipe '{name}'.{did_you_mean(name, recipe_names())}", "(ssl-sbir recipes list)"
    )


def recipe_source(name: str) -> str:
    """The text of the file that defines a recipe.

    Args:
        name: a recipe's name, or a path that ends in `.py`.

    Raises:
        ConfigError: as `recipe_info` does.
    """
    if name.endswith(".py"):
        load_recipe(name)  # refuses what is no recipe
        return Path(name).read_text(encoding="utf-8")
    if name in built_in_recipes():
        return _read_source(built_in_recipes()[name].module)
    return inspect.getsource(sys.modules[load_recipe(name).__module__])


def load_preset(name: str, recipe: str) -> dict[str, Any]:
    """The settings of a named preset, made for that recipe.

    Raises:
        ConfigError: there is no such preset, or it belongs to another recipe.
    """
    known = preset_names()
    if name not in known:
        raise ConfigError(
            f"unknown preset '{name}'.{did_you_mean(name, known)}", f"Presets: {', '.join(known)}"
        )
    file = files(RECIPE_PACKAGE) / "presets" / f"{name}.yaml"
    settings = dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    if settings.pop("recipe") != recipe:
        raise ConfigError(
            f"preset '{name}' is not made for '{recipe}'", "ssl-sbir recipes list shows whose it is."
        )
    return settings


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    folder = files(RECIPE_PACKAGE) / "presets"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml"))


def _module_names(stage: str) -> list[str]:
    folder = files(RECIPE_PACKAGE) / stage
    names = (f.name.removesuffix(".py") for f in folder.iterdir() if f.name.endswith(".py"))
    return sorted(name for name in names if name != "__init__")


def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=RECIPE_PACKAGE)}


def _entry_point_info(name: str) -> RecipeInfo:
    """What another package's recipe says of itself, or why it can't be imported."""
    try:
        return _info_of_class(load_recipe(name))
    except ConfigError as error:
        return RecipeInfo(name, "pretraining", error.message, "–", "")


def _info_of_class(kind: "type[Recipe[Any, Any]]") -> RecipeInfo:
    return RecipeInfo(kind.name, kind.stage, kind.summary, kind.paper, kind.__module__)


def _load_entry_point(name: str) -> "type[Recipe[Any, Any]]":
    """The recipe that another package offers under a name.

    Raises:
        ConfigError: it can't be imported, or is no recipe of that name.
    """
    from ssl_sbir.training.recipe import Recipe

    point = _entry_points()[name]
    hint = f"It is the entry point {point.value} of the group {RECIPE_PACKAGE}: update or remove its package."
    try:
        kind = point.load()
    except Exception as error:
        raise ConfigError(f"the recipe '{name}' can't be imported: {error}", hint) from error
    if not (inspect.isclass(kind) and issubclass(kind, Recipe) and kind.name == name):
        raise ConfigError(f"'{name}' is no recipe of that name", hint)
    return kind


def _load_recipe_file(path: Path) -> "type[Recipe[Any, Any]]":
    """The recipe in a file, which is executed once for each content that it has."""
    if not path.is_file():
        raise ConfigError(f"no recipe file at {path}", f"Start from one: ssl-sbir recipes copy sake {path}")
    digest = sha256_of(str(path.resolve()), path.read_bytes())[:12]
    name = f"ssl_sbir_recipe_{path.stem}_{digest}"
    if name not in sys.modules:
        sys.modules[name] = _execute_file(path, name)
    return _only_recipe(sys.modules[name], str(path))


def _execute_file(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, SslSbirError) or not isinstance(error, Exception):
            raise
        raise ConfigError(f"{path} can't be imported: {error}", "Correct that file.") from error
    return module


def _only_recipe(module: Any, name: str) -> "type[Recipe[Any, Any]]":
    """The one class of a module that `register_recipe` named."""
    from ssl_sbir.training.recipe import Recipe

    classes = [k for k in vars(module).values() if inspect.isclass(k) and k.__module__ == module.__name__]
    found = [k for k in classes if issubclass(k, Recipe) and "name" in vars(k)]
    if len(found) != 1:
        raise ConfigError(
            f"{name} holds {len(found)} recipes", "Define exactly one class with @register_recipe(name)."
        )
    return found[0]


# What a file says, read as text.


@cache
def _read_source(module: str) -> str:
    package, _, name = module.rpartition(".")
    return (files(package) / f"{name}.py").read_text(encoding="utf-8")


@cache
def _parse_module(module: str) -> ast.Module:
    return ast.parse(_read_source(module))


def _read_info(module: str) -> RecipeInfo | None:
    """What the decorated class of a recipe's file says; None for a file without one."""
    node = _recipe_class(module)
    if node is None:
        return None
    stage, summary = _class_constant(module, node, "stage"), _class_constant(module, node, "summary")
    paper = _class_constant(module, node, "paper") or "–"
    return RecipeInfo(_registered_name(node) or "", cast("Stage", stage), str(summary), str(paper), module)


def _recipe_class(module: str) -> ast.ClassDef | None:
    classes = (node for node in _parse_module(module).body if isinstance(node, ast.ClassDef))
    return next((node for node in classes if _registered_name(node)), None)


def _registered_name(node: ast.ClassDef) -> str | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "register_recipe":
            return str(ast.literal_eval(decorator.args[0]))
    return None


def _class_constant(module: str, node: ast.ClassDef, name: str) -> Any:
    """The value that a class or its nearest base gives a constant; None where none of them is in a file at hand."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    for base in node.bases:
        home, inner = _find_class(module, ast.unparse(base).partition("[")[0])
        if inner is not None and (value := _class_constant(home, inner, name)) is not None:
            return value
    return None


def _find_class(module: str, name: str) -> tuple[str, ast.ClassDef | None]:
    """The module that defines a class which a module defines or imports from this project, and its definition."""
    for node in _parse_module(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and name in _defined_names(node) and _is_ours(node):
            return _find_class(str(node.module), name)
    return module, None


def _is_ours(node: ast.ImportFrom) -> bool:
    return (node.module or "").startswith("ssl_sbir.")


def _config_name(module: str) -> str:
    """What the recipe's class calls its settings class: the value of `Config`."""
    node = _recipe_class(module)
    assert node is not None
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "Config":
            return ast.unparse(statement.value)
    raise ConfigError(f"{module} names no settings", "Set Config in its class.")


@cache
def _settings_namespace(module: str) -> dict[str, Any]:
    """A module's settings class and what it is made of; nothing else of the module is executed.

    Settings that another recipe's file defines are read from that file in the same way.
    """
    tree, namespace = _parse_module(module), {"__name__": module}
    needed = _needed_names(tree, _config_name(module))
    statements = [node for node in tree.body if needed.intersection(_defined_names(node))]
    for node in [node for node in statements if isinstance(node, ast.ImportFrom) and _is_recipe(node)]:
        statements.remove(node)
        other = _settings_namespace(str(node.module))
        namespace |= {name: other[name] for name in _defined_names(node) if name in other}
    exec(compile(ast.Module(statements, []), module, "exec"), namespace)
    return namespace


def _is_recipe(node: ast.ImportFrom) -> bool:
    return (node.module or "").startswith(f"{RECIPE_PACKAGE}.")


def _needed_names(tree: ast.Module, name: str) -> set[str]:
    """A module-level name and those that its definition refers to, and theirs, and so on."""
    definitions = {name: node for node in tree.body for name in _defined_names(node)}
    needed, waiting = set[str](), [name]
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in needed:
            needed.add(name)
            waiting += [node.id for node in ast.walk(definitions[name]) if isinstance(node, ast.Name)]
    return needed


def _defined_names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement at a module's top level defines."""
    if isinstance(node, ast.ImportFrom | ast.Import):
        yield from (alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        names = (part for target in node.targets for part in ast.walk(target))
        yield from (part.id for part in names if isinstance(part, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
