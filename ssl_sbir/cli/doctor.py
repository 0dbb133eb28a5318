"""`doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from ssl_sbir.cli._app import app, print_json, stdout_console

if TYPE_CHECKING:
    from ssl_sbir.augment.timing import AugmentTiming


@app.command("doctor")
def doctor_command(
    augment: Annotated[
        bool, typer.Option("--augment", help="Time both ways to make views, too, and say which to use.")
    ] = False,
    recipe: Annotated[str, typer.Option(help="With --augment: whose views.")] = "simclr",
    size: Annotated[int, typer.Option(min=32, max=1024, help="With --augment: side in pixels.")] = 96,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Look at this machine: versions, device, packages with weights and data, caches; exit code 1 if there is a problem."""
    from ssl_sbir.diagnostics import examine_machine

    timing = _time_augmentation(recipe, size) if augment else None
    findings = examine_machine()
    good = all(finding.good for finding in findings)
    if as_json:
        facts = {"good": good, "findings": [finding.facts() for finding in findings]}
        print_json({**facts, "augment": timing.facts()} if timing else facts)
    for finding in [] if as_json else findings:
        mark, style = ("✓", "green") if finding.good else ("✗", "red")
        stdout_console.print(f"{mark} {finding.what:<34}{finding.found}", style=style, markup=False)
        if finding.advice:
            stdout_console.print(f"  {'':<34}{finding.advice}", markup=False)
    if timing and not as_json:
        rates = (
            f"kornia {timing.kornia:,.0f} views/s on {timing.device} · torchvision {timing.torchvision:,.0f}"
        )
        stdout_console.print(f"  {'augment':<34}{rates} ({recipe}, {size} px)", markup=False)
        stdout_console.print(
            f"  {'':<34}use --set augment.backend={timing.recommended_backend}", markup=False
        )
    raise typer.Exit(0 if good else 1)


def _time_augmentation(recipe: str, size: int) -> "AugmentTiming":
    from ssl_sbir import recipes
    from ssl_sbir.augment.timing import time_augmentation

    return time_augmentation(recipes.load_recipe(recipe).Config().augment, size)
