"""`ssl-sbir encoders`: what can turn an image into features, and what is here already."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_sbir.cli._app import app, print_json, stdout_console

if TYPE_CHECKING:
    from ssl_sbir.encoders import EncoderInfo


@app.command("encoders")
def encoders_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")] = False,
) -> None:
    """List image encoders: size, width, parameters, licence, source of the weights, text, how to get missing ones."""
    # Imported here: torch and timm would slow every other command's start.
    from ssl_sbir.encoders import encoder_table

    rows = encoder_table()
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    for row in rows:
        here = "here" if row.available else "not here"
        stdout_console.print(row.name, style="bold" if row.available else None, markup=False)
        stdout_console.print(
            f"    {here} · {_format_encoder_size(row)}{row.licence} · {row.weights}\n"
            f"    reads text: {row.reads_text} · {row.note}",
            markup=False,
        )


def _format_encoder_size(row: "EncoderInfo") -> str:
    if row.size is None or row.width is None or row.parameters is None:
        return ""
    return f"{row.size} px · {row.width:,} wide · {row.parameters / 1e6:.1f} M parameters · "
