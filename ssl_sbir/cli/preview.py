"""`data preview`."""

from io import BytesIO
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from ssl_sbir.cli._app import print_message
from ssl_sbir.cli.data import data_app


@data_app.command("preview")
def preview_command(
    data: Annotated[str, typer.Argument(help="What to show, such as folder:pets/.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("preview.png"),
    recipe: Annotated[str, typer.Option(help="Whose augmentation to show.")] = "simclr",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="For example augment.min_crop_area=0.5")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of each image, in pixels.")] = 96,
    edges: Annotated[
        list[str] | None,
        typer.Option(
            help="Edge detectors for pseudo-sketches of photos: sobel, canny, mixed, hed, hed_lines; may be repeated."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which images and views.")] = 0,
) -> None:
    """Write a contact sheet: images, random views of them, photos' pseudo-sketches as drawn and as distorted."""
    from ssl_sbir.config import parse_assignments, resolve_config
    from ssl_sbir.data.batches import prepare_pack
    from ssl_sbir.data.readers import open_data
    from ssl_sbir.edges.choices import EdgeDetector
    from ssl_sbir.errors import ConfigError
    from ssl_sbir.files import write_atomic
    from ssl_sbir.renamed_settings import renamed_settings
    from ssl_sbir.training.contact_sheet import contact_sheet
    from ssl_sbir.training.recipe_catalog import recipe_info, recipe_settings

    config, _ = resolve_config(
        recipe_settings(recipe),
        [("--set", parse_assignments(settings or ()))],
        list_command=f"ssl-sbir recipes show {recipe}",
        renamed=renamed_settings(recipe_info(recipe).name),
    )
    detectors = edges or ["sobel", "canny", "mixed"]
    for name in detectors:
        if name not in get_args(EdgeDetector):
            raise ConfigError(
                f"--edges {name}: no such detector", f"Known: {', '.join(get_args(EdgeDetector))}."
            )
    manifest = open_data(data)
    pack = prepare_pack(manifest, size, fit=config.encoder.fit or "squash")
    sheet = contact_sheet(
        manifest, pack, config.augment, detectors=cast("list[EdgeDetector]", detectors), seed=seed
    )
    picture = BytesIO()
    sheet.save(picture, format="PNG")
    write_atomic(out, picture.getvalue())
    print_message(f"{out}   {sheet.width} × {sheet.height}")
