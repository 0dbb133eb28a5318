"""The command line: one file per group of commands, which parse, call and print."""

from ssl_sbir.cli import (
    compare,
    data,
    doctor,
    encoders,
    evaluate,
    explain,
    preview,
    quickstart,
    recipes,
    search,
    semantics,
    study,
    train,
)
from ssl_sbir.cli._app import app, main

__all__ = [
    "app",
    "compare",
    "data",
    "doctor",
    "encoders",
    "evaluate",
    "explain",
    "main",
    "preview",
    "quickstart",
    "recipes",
    "search",
    "semantics",
    "study",
    "train",
]
