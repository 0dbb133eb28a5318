"""`data preview`."""

from io import BytesIO
from pathlib import Path
from typing import Annotated, cast, get_args

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
    edges: Annotated[
        list[str] | None,
        typer.Option(help="What draws the photos: sobel, canny, mixed, hed, hed_lines; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which images and views.")] = 0,
) -> None:
    """Write a contact sheet: images, random views of them, photos' pseudo-sketches as drawn and as distorted."""
    from ssl_sbir import recipes
    from ssl_sbir.config import parse_assignments, resolve
    from ssl_sbir.data.loading import prepare
    from ssl_sbir.data.readers import open_data
    from ssl_sbir.edges.drawings import Detector
    from ssl_sbir.errors import ConfigError
    from ssl_sbir.files import write_atomic
    from ssl_sbir.preview import contact_sheet

    config, _ = resolve(
        recipes.load(recipe).Config,
        [("--set", parse_assignments(settings or ()))],
        listed=f"ssl-sbir recipes show {recipe}",
    )
    detectors = edges or ["sobel", "canny", "mixed"]
    for name in detectors:
        if name not in get_args(Detector):
            raise ConfigError(f"--edges {name}: no such detector", f"Known: {', '.join(get_args(Detector))}.")
    manifest = open_data(data)
    pack = prepare(manifest, size, fit=config.encoder.fit or "squash")
    sheet = contact_sheet(
        manifest, pack, config.augment, detectors=cast("list[Detector]", detectors), seed=seed
    )
    picture = BytesIO()
    sheet.save(picture, format="PNG")
    write_atomic(out, picture.getvalue())
    say(f"{out}   {sheet.width} × {sheet.height}")
