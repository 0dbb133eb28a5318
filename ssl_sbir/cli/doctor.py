"""`doctor`."""

from typing import Annotated

import typer

from ssl_sbir.cli._app import app, emit, out


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Look at this machine: versions, device, packages with weights and data, caches; exit 1 if something is amiss."""
    from ssl_sbir.doctor import examine

    findings = examine()
    good = all(finding.good for finding in findings)
    if as_json:
        emit({"good": good, "findings": [finding.facts() for finding in findings]})
    for finding in [] if as_json else findings:
        mark, style = ("✓", "green") if finding.good else ("✗", "red")
        out.print(f"{mark} {finding.what:<34}{finding.found}", style=style, markup=False)
        if finding.advice:
            out.print(f"  {'':<34}{finding.advice}", markup=False)
    raise typer.Exit(0 if good else 1)
