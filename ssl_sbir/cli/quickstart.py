"""`quickstart`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console


@app.command("quickstart")
def quickstart_command(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("runs/quickstart"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start over.")] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Two training steps per stage, to test the installation.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Pretrain, fine-tune, evaluate and explain on OpenMoji (two to five minutes, no network needed)."""
    from ssl_sbir.quickstart import run_quickstart as run

    facts = run(out_folder, print_message, overwrite=overwrite, tiny=tiny)
    if as_json:
        print_json(facts)
        return
    table = Table(
        "encoder", "labels used", "mAP@all (standard)", "95 % interval", box=None, header_style="dim"
    )
    for row in facts["stages"]:
        low, high = row["interval"]
        table.add_row(row["stage"], row["labels"], f"{row['mAP@all']:.3f}", f"{low:.3f} to {high:.3f}")
    stdout_console.print(
        f"{facts['queries']:,} drawings → {facts['gallery']:,} images of unseen classes", markup=False
    )
    stdout_console.print(table)
    stdout_console.print(
        f"chance {facts['chance']:.3f} · OpenMoji is enough for a first run, but no benchmark", style="dim"
    )
    stdout_console.print(facts["page"], markup=False)
