"""`data preview`."""

from pathlib import Path
from typing import Annotated

import typer

from ssl_sbir.cli._app import say
from ssl_sbir.cli.data import data_app


@data_app.command()
def preview(
    data: Annotated[str, typer.Argument(help="What to show, such as folder:pets/.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("preview.png"),
    recipe: Annotated[str, typer.Option(help="Whose augmentation to show.")] = "simclr",
    settings: Annotated[list[str] | None, typer.Option("--set", help="For example augment.crop=0.5")] = None,
    size: Annotated[int, typer.Option(help="Side of each image, in pixels.")] = 96,
    seed: Annotated[int, typer.Option(help="Decides which images and views.")] = 0,
) -> None:
    """Write a contact sheet: images, random views of them, pseudo-sketches of photos."""
    from ssl_sbir import recipes
    from ssl_sbir.config import parse_assignments, resolve
    from ssl_sbir.data.loading import prepare
    from ssl_sbir.data.readers import open_data
    from ssl_sbir.preview import contact_sheet

    config, _ = resolve(recipes.load(recipe).Config, [("--set", parse_assignments(settings or ()))])
    manifest = open_data(data)
    sheet = contact_sheet(manifest, prepare(manifest, size), config.augment, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, format="PNG")
    say(f"{out}   {sheet.width} × {sheet.height}")
