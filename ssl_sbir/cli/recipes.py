"""`recipes list | show | copy`."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.errors import ConfigError
from ssl_sbir.files import write_atomic

if TYPE_CHECKING:
    from ssl_sbir.config import Config
    from ssl_sbir.training.recipe import Recipe

recipes_app = typer.Typer(help="List, read and copy training methods.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")
RecipesJsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@recipes_app.command("list")
def list_recipes(as_json: RecipesJsonOption = False) -> None:
    """Show every recipe in a line."""
    from ssl_sbir import recipes

    kinds = sorted(
        (recipes.load_recipe(name) for name in recipes.RECIPES.names()), key=lambda k: (k.stage, k.name)
    )
    kinds.sort(key=lambda k: k.stage != "pretraining")
    if as_json:
        print_json(
            [{"name": k.name, "stage": k.stage, "summary": k.summary, "paper": k.paper} for k in kinds]
        )
        return
    table = Table("stage", "name", "in one line", "paper", box=None, header_style="dim")
    for kind in kinds:
        table.add_row(kind.stage, kind.name, kind.summary, kind.paper)
    stdout_console.print(table)
    stdout_console.print(f" presets: {', '.join(recipes.preset_names())}", style="dim")
    stdout_console.print(" (ssl-sbir recipes show sake · ssl-sbir recipes copy sake mine.py)", style="dim")


@recipes_app.command("show")
def show_recipe(name: str, as_json: RecipesJsonOption = False) -> None:
    """Show what a recipe does and every setting it has."""
    from ssl_sbir import recipes

    kind = recipes.load_recipe(name)
    settings = _setting_facts(kind)
    if as_json:
        print_json(
            {
                "name": kind.name,
                "stage": kind.stage,
                "about": inspect.getdoc(inspect.getmodule(kind)),
                "distributed": kind.distributed,
                "settings": settings,
            }
        )
        return
    stdout_console.print(inspect.getdoc(inspect.getmodule(kind)), markup=False)
    stdout_console.print(f"\nSeveral processes (--devices): {kind.distributed}.", markup=False)
    table = Table("setting", "default", "what it does", box=None, header_style="dim")
    for setting in settings:
        table.add_row(setting["key"], str(setting["default"]), setting["description"])
    stdout_console.print()
    stdout_console.print(table, markup=False)


@recipes_app.command("copy")
def copy_recipe(name: str, file: Path) -> None:
    """Copy a recipe's file, to change it and train with it."""
    from ssl_sbir import recipes

    if file.suffix != ".py":
        raise ConfigError(f"{file} doesn't end in .py", f"ssl-sbir recipes copy {name} {file}.py")
    if file.exists():
        raise ConfigError(f"{file} is already there", "Choose another name, or remove it first.")
    kind = recipes.load_recipe(name)
    write_atomic(file, recipes.recipe_source(kind))
    command = "pretrain" if kind.stage == "pretraining" else "finetune"
    print_message(f"{file}   ·   next: edit it, then ssl-sbir {command} {file} --data …")


def _setting_facts(kind: type["Recipe"]) -> list[dict[str, Any]]:
    from ssl_sbir.config import flatten_settings

    defaults = kind.Config()
    return [
        {"key": key, "default": value, "description": _setting_description(kind.Config, key.split("."))}
        for key, value in flatten_settings(defaults.model_dump(mode="json"))
    ]


def _setting_description(config: type["Config"], path: list[str]) -> str:
    field = config.model_fields[path[0]]
    if len(path) == 1:
        return field.description or ""
    return _setting_description(type(field.default), path[1:])
