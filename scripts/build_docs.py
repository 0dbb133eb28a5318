"""Writes a page of every command and one of every recipe from their own words, and checks the links of all pages.

    python scripts/build_docs.py --out build/docs    # or: make docs

What the pages say stands in the docstrings, options and settings themselves, so they are made, never committed.
Exit code 1 where something isn't described or a link leads nowhere.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

# By name: a type checker that follows it from here looks for explain/ and its like below ssl_sbir/.
cli_app: Any = import_module("ssl_sbir.cli").app

REPOSITORY_ROOT = Path(__file__).parents[1]
MARKDOWN_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_EMPTY_DEFAULTS: tuple[Any, ...] = (None, (), [], "")
MARKDOWN_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def main() -> int:
    """Writes the pages and reports what is wrong with them."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--out", type=Path, default=Path("build/docs"))
    out = ask.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    (out / "commands.md").write_text(commands_page(), "utf-8")
    (out / "recipes.md").write_text(recipes_page(), "utf-8")
    pages = [
        *sorted(out.glob("*.md")),
        *sorted(REPOSITORY_ROOT.glob("*.md")),
        *sorted((REPOSITORY_ROOT / "docs").glob("**/*.md")),
    ]
    wrong = [*find_undescribed(), *(problem for page in pages for problem in broken_links(page))]
    for problem in wrong:
        print(problem, file=sys.stderr)
    print(
        f"{out}: commands.md, recipes.md; {len(pages)} pages checked, {len(wrong)} problems", file=sys.stderr
    )
    return bool(wrong)


def iterate_commands() -> Iterator[tuple[str, Any]]:
    """Each command with its whole name, such as "data list"."""
    yield from _iterate_subcommands("", typer.main.get_command(cli_app))


def _iterate_subcommands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for key in sorted(inner):
        yield from _iterate_subcommands(f"{name} {key}".strip(), inner[key])


def commands_page() -> str:
    """Every command: what it does, and its arguments and options."""
    parts = ["# Commands\n", "Made by `scripts/build_docs.py` from what `ssl-sbir COMMAND --help` says.\n"]
    known = list(iterate_commands())
    parts += [f"- [`{name}`](#ssl-sbir-{name.replace(' ', '-')})" for name, _ in known]
    for name, command in known:
        parts += [f"\n## ssl-sbir {name}\n", f"{(command.help or '').strip()}\n"]
        rows = [_parameter_row(p) for p in command.params if not p.hidden and p.name != "help"]
        if rows:
            parts += ["| argument or option | default | what it is |", "|---|---|---|", *rows]
    return "\n".join(parts) + "\n"


def _parameter_row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = (
        "required"
        if parameter.required
        else ""
        if default is False or default in _EMPTY_DEFAULTS
        else f"`{default}`"
    )
    return f"| {names} | {shown} | {_escape_table_cell(getattr(parameter, 'help', None) or '')} |"


def iterate_recipes() -> Iterator[dict[str, Any]]:
    """What `recipes show --json` says of each recipe."""
    for one in json.loads(_command_output("recipes", "list", "--json")):
        yield {**one, **json.loads(_command_output("recipes", "show", one["name"], "--json"))}


def recipes_page() -> str:
    """Every recipe: its docstring, and its settings with their defaults."""
    known = list(iterate_recipes())
    parts = ["# Recipes\n", "Made by `scripts/build_docs.py` from what `ssl-sbir recipes show NAME` says.\n"]
    parts += [f"- [{one['name']}](#{one['name']}): {one['summary']}" for one in known]
    for one in known:
        parts += [
            f"\n## {one['name']}\n",
            f"{one['stage']} · {one['paper']}\n",
            f"```text\n{one['about']}\n```\n",
        ]
        parts += ["| setting | default | what it does |", "|---|---|---|"]
        parts += [
            f"| `{s['key']}` | `{s['default']}` | {_escape_table_cell(s['description'])} |"
            for s in one["settings"]
        ]
    return "\n".join(parts) + "\n"


def find_undescribed() -> Iterator[str]:
    """Commands, options and settings that nobody has described."""
    for name, command in iterate_commands():
        if not command.help:
            yield f"ssl-sbir {name}: no description"
        for parameter in command.params:
            if parameter.param_type_name != "argument" and not parameter.help:
                yield f"ssl-sbir {name} {parameter.opts[0]}: no description"
    for one in iterate_recipes():
        for setting in one["settings"]:
            if not setting["description"]:
                yield f"recipe {one['name']}, setting {setting['key']}: no description"


def broken_links(page: Path) -> Iterator[str]:
    """Links of a page to files and headings that aren't there; addresses of the web aren't looked at."""
    text = MARKDOWN_CODE.sub("code", page.read_text("utf-8"))
    for match in MARKDOWN_LINK.finditer(text):
        target = match[1] or match[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            yield f"{page}: {target} is not there"
        elif heading and file.suffix == ".md" and heading not in heading_anchors(file.read_text("utf-8")):
            yield f"{page}: {target} has no such heading"


def heading_anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = re.findall(r"^#+\s+(.*)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _command_output(*arguments: str) -> str:
    done = CliRunner().invoke(cli_app, list(arguments))
    if done.exit_code:
        raise SystemExit(f"ssl-sbir {' '.join(arguments)}: {done.output}")
    return done.stdout


def _escape_table_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
