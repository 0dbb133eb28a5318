"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DeviceOption = Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu, cuda or mps.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
RunArgument = Annotated[
    str, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")
]
EvaluationSplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Published split, JSON file, or hashed; the run's own by default."),
]
PresetOption = Annotated[str | None, typer.Option(help="Named settings that come with a recipe.")]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, such as optim.lr=1e-4; may be repeated.")
]
TemplatesOption = Annotated[Path | None, typer.Option(help="Folder of your own page templates.")]

# Options that had another name in version 0.1.0.
RENAMED_OPTIONS = {"--each": "--per-kind", "--draws": "--random-maps", "--no-ideas": "--no-concepts"}


def split_comma_list(text: str) -> list[str]:
    """The parts of a list that is written with commas, without blanks around them; empty parts are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]
