"""`evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_sbir.cli._app import Device, app, emit, out

Run = Annotated[
    str | None, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")
]
Data = Annotated[
    str | None, typer.Option(help="What to evaluate on, such as folder:pets/ (ssl-sbir data list).")
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        help="Features made elsewhere (.npz or .safetensors: query, query_labels, gallery, gallery_labels)."
    ),
]
SplitName = Annotated[
    str | None,
    typer.Option("--split", help="Published split, JSON file, or hashed; the run's own by default."),
]
Protocols = Annotated[
    list[str] | None,
    typer.Option("--protocol", help="A published definition; may be repeated; all by default."),
]
TieRule = Annotated[
    str | None,
    typer.Option("--ties", help="stable, grouped or expected, in the place of each protocol's own."),
]
Centre = Annotated[
    str, typer.Option(help="none, or train: subtract each domain's mean over the seen classes' images.")
]
Gzs = Annotated[
    list[str] | None,
    typer.Option(help="Generalised too: all-seen, sempcyc, ocean or drclip; may be repeated."),
]
Bits = Annotated[
    list[int] | None, typer.Option(help="Binary codes of that many bits too, 16 to 512; may be repeated.")
]
ExcludeMissing = Annotated[
    bool,
    typer.Option("--exclude-missing", help="Leave out queries whose class the gallery lacks, and say so."),
]


@app.command()
def evaluate(
    run: Run = None,
    data: Data = None,
    embeddings: Embeddings = None,
    split: SplitName = None,
    protocol: Protocols = None,
    ties: TieRule = None,
    centre: Centre = "none",
    gzs: Gzs = None,
    bits: Bits = None,
    exclude_missing: ExcludeMissing = False,
    size: Annotated[int | None, typer.Option(help="Image side, for a named encoder only.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="How images reach that size (squash, crop, pad, ink), for a named encoder only."),
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; RUN/evaluate/SPLIT by default.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of sampled galleries, the bootstrap and binary codes.")
    ] = 0,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Embed anew and keep nothing.")] = False,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure sketch → photo retrieval on unseen classes, under every published definition."""
    from ssl_sbir.devices import device_of
    from ssl_sbir.evaluation.request import Request, answer
    from ssl_sbir.evaluation.subject import How

    how = How(
        protocols=protocol,
        ties=ties,
        centre=centre,
        gzs=gzs or (),
        bits=bits or (),
        missing="exclude" if exclude_missing else "error",
        seed=seed,
        device=device_of(device),
        cache=not no_cache,
    )
    facts = answer(Request(run, data, embeddings, split, size, fit, out_folder), how)
    if as_json:
        emit(facts)
    else:
        _print(facts)


def _print(facts: dict[str, Any]) -> None:
    from ssl_sbir.evaluation.summary import summary

    for number, line in enumerate(summary(facts, width=max(out.width, 100))):
        out.print(line, markup=False, style="bold red" if number == 0 and "FAILED" in line else None)
    if "page" in facts:
        out.print(facts["page"], markup=False)
