"""The command line: each room's commands live in a file of their own and only parse, call and print."""

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
