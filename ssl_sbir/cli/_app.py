"""The application that every command registers on, and its output: messages on stderr, results on stdout.

Commands import what they need when they run: torch and similar packages take seconds to load, `--help` must not.
"""

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from ssl_sbir.cli.options import RENAMED_OPTIONS
from ssl_sbir.errors import ConfigError, SslSbirError
from ssl_sbir.memory import keep_freed_memory

stdout_console = Console(soft_wrap=True, highlight=False)
stderr_console = Console(stderr=True, soft_wrap=True, highlight=False)


class ErrorReportingGroup(TyperGroup):
    """Turns every error a user can cause into one line, the next step and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SslSbirError as error:
            print_error(error)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            kept = "runs up to their last checkpoint, indexes and other files as they were"
            stderr_console.print(f"stopped; kept: {kept}", style="yellow")
            raise typer.Exit(130) from None
        except Exception as error:
            # The class lies in click or in typer's own copy of it, by typer's version.
            old = getattr(error, "option_name", None)
            new = RENAMED_OPTIONS.get(str(old))
            known = [name for parameter in _parameters_of(error) for name in parameter.opts]
            if new not in known:
                raise
            print_error(ConfigError(f"'{old}' is now '{new}'", "Give it by its new name."))
            raise typer.Exit(2) from None


def _parameters_of(error: Exception) -> Sequence[Any]:
    """The parameters of the command that a usage error belongs to."""
    return getattr(getattr(getattr(error, "ctx", None), "command", None), "params", ())


def print_error(error: SslSbirError) -> None:
    """Prints the cause in one line and the next step below it, with no markup read into either."""
    stderr_console.print("error:", style="bold red", end=" ")
    stderr_console.print(error.message, markup=False)
    if error.hint:
        stderr_console.print(f"       {error.hint}", markup=False)


app = typer.Typer(
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Search pictures with a drawing: pretrain without labels, fine-tune, evaluate, explain.",
)


@app.callback(invoke_without_command=True)
def _version_callback(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        stdout_console.print(metadata.version("ssl-sbir"))
        raise typer.Exit


def print_json(facts: Any) -> None:
    """Prints one JSON value on stdout."""
    json.dump(facts, sys.stdout, ensure_ascii=False, indent=1, default=str)
    sys.stdout.write("\n")


def print_message(text: str) -> None:
    """Prints a line for people on stderr, so that stdout stays a result; a file's name is never read as markup."""
    stderr_console.print(text, markup=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; the entry point `ssl-sbir`."""
    keep_freed_memory()
    app(args=list(arguments) if arguments is not None else None, prog_name="ssl-sbir")


__all__ = ["app", "main", "print_json", "print_message", "stderr_console", "stdout_console"]
