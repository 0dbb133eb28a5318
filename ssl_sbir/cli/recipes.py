"""`recipes list | show | copy`."""

import inspect
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.options import JsonOption
from ssl_sbir.errors import ConfigError
from ssl_sbir.files import write_atomic

if TYPE_CHECKING:
    from ssl_sbir.config import Config

recipes_app = typer.Typer(help="List, read and copy training methods.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")


@recipes_app.command("list")
def list_recipes(as_json: JsonOption = False) -> None:
    """List every recipe in one line."""
    from ssl_sbir.training.recipe_catalog import preset_names, recipe_infos

    infos = recipe_infos()
    if as_json:
        shown = ("name", "stage", "summary", "paper")
        print_json([{key: asdict(info)[key] for key in shown} for info in infos])
        return
    table = Table("stage", "name", "in one line", "paper", box=None, header_style="dim")
    for info in infos:
        table.add_row(info.stage, info.name, info.summary, info.paper)
    stdout_console.print(table)
    stdout_console.print(f" presets: {', '.join(preset_names())}", style="dim")
    stdout_console.print(" (ssl-sbir recipes show sake · ssl-sbir recipes copy sake mine.py)", style="dim")


@recipes_app.command("show")
def show_recipe(name: str, as_json: JsonOption = False) -> None:
    """Show what a recipe does and every setting it has."""
    from ssl_sbir.training.recipe_catalog import load_recipe

    kind = load_recipe(name)
    about, settings = inspect.getdoc(sys.modules[kind.__module__]), _list_settings(kind.Config)
    if as_json:
        facts = {"name": kind.name, "stage": kind.stage, "about": about, "distributed": kind.distributed}
        print_json({**facts, "settings": settings})
        return
    stdout_console.print(about or f"{name} has no docstring.", markup=False)
    stdout_console.print(f"\nSeveral processes (--devices): {kind.distributed}.", markup=False)
    table = Table("setting", "default", "what it does", box=None, header_style="dim")
    for setting in settings:
        table.add_row(setting["key"], str(setting["default"]), setting["description"])
    stdout_console.print()
    stdout_console.print(table, markup=False)


@recipes_app.command("copy")
def copy_recipe(name: str, file: Path) -> None:
    """Copy a recipe's file, to change it and train with it."""
    from ssl_sbir.training.recipe_catalog import recipe_info, recipe_source

    if file.suffix != ".py":
        raise ConfigError(f"{file} doesn't end in .py", f"ssl-sbir recipes copy {name} {file}.py")
    if file.exists():
        raise ConfigError(f"{file} is already there", "Choose another name, or remove it first.")
    write_atomic(file, recipe_source(name))
    command = "pretrain" if recipe_info(name).stage == "pretraining" else "finetune"
    print_message(f"{file}   ·   next: edit it, then ssl-sbir {command} {file} --data …")


def _list_settings(config: "type[Config]") -> list[dict[str, Any]]:
    from ssl_sbir.config import flatten_settings

    return [
        {"key": key, "default": value, "description": _describe_setting(config, key.split("."))}
        for key, value in flatten_settings(config().model_dump(mode="json"))
    ]


def _describe_setting(config: "type[Config]", path: list[str]) -> str:
    field = config.model_fields[path[0]]
    if len(path) == 1:
        return field.description or ""
    return _describe_setting(type(field.default), path[1:])
