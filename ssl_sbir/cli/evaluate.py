"""`evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, stdout_console
from ssl_sbir.cli.options import DeviceOption, EvaluationSplitOption, JsonOption

EvaluateRunArgument = Annotated[
    str | None, typer.Argument(help="A run folder, or the name of an encoder (ssl-sbir encoders).")
]
EvaluateDataOption = Annotated[
    str | None, typer.Option(help="What to evaluate on, such as folder:pets/ (ssl-sbir data list).")
]
EmbeddingsOption = Annotated[
    Path | None,
    typer.Option(
        help="File of features instead (.npz or .safetensors: query, query_labels, gallery, gallery_labels)."
    ),
]
ProtocolsOption = Annotated[
    list[str] | None,
    typer.Option("--protocol", help="A published definition; may be repeated; all by default."),
]
TiesOption = Annotated[
    str | None,
    typer.Option("--ties", help="Tie rule that replaces each protocol's own: stable, grouped or expected."),
]
EvaluateCenterOption = Annotated[
    str, typer.Option(help="none, or train: subtract each domain's mean over the seen classes' images.")
]
GzsOption = Annotated[
    list[str] | None,
    typer.Option(help="Generalised protocol too: all-seen, sempcyc, ocean or drclip; may be repeated."),
]
BitsOption = Annotated[
    list[int] | None,
    typer.Option(help="Length of binary codes to evaluate too, 16 to 512 bits; may be repeated."),
]
ExcludeMissingOption = Annotated[
    bool,
    typer.Option(
        "--exclude-missing", help="Exclude and report queries whose class has no photo in the gallery."
    ),
]


@app.command("evaluate")
def evaluate_command(
    run: EvaluateRunArgument = None,
    data: EvaluateDataOption = None,
    embeddings: EmbeddingsOption = None,
    split: EvaluationSplitOption = None,
    protocol: ProtocolsOption = None,
    ties: TiesOption = None,
    centre: EvaluateCenterOption = "none",
    gzs: GzsOption = None,
    bits: BitsOption = None,
    exclude_missing: ExcludeMissingOption = False,
    size: Annotated[int | None, typer.Option(help="Image side, for a named encoder only.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="How images are resized (squash, crop, pad, ink), for a named encoder only."),
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; RUN/evaluate/SPLIT by default.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of sampled galleries, the bootstrap and binary codes.")
    ] = 0,
    text: Annotated[
        bool,
        typer.Option(
            "--text",
            help="Queries with the classes' names as text, too; a run that learnt text always has them.",
        ),
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Don't read or write the cache of embeddings.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Evaluate sketch → photo retrieval on unseen classes, under every published definition."""
    from ssl_sbir.devices import resolve_device
    from ssl_sbir.evaluation.evaluate_run import EvaluationSettings
    from ssl_sbir.evaluation.evaluation_request import EvaluationRequest, run_evaluation

    settings = EvaluationSettings(
        protocols=protocol,
        ties=ties,
        centre=centre,
        gzs=gzs or (),
        bits=bits or (),
        missing="exclude" if exclude_missing else "error",
        seed=seed,
        device=resolve_device(device),
        cache=not no_cache,
        text=text,
    )
    facts = run_evaluation(EvaluationRequest(run, data, embeddings, split, size, fit, out_folder), settings)
    if as_json:
        print_json(facts)
    else:
        _print_evaluation(facts)


def _print_evaluation(facts: dict[str, Any]) -> None:
    from ssl_sbir.evaluation.report.summary import format_evaluation_summary

    for number, line in enumerate(format_evaluation_summary(facts, width=max(stdout_console.width, 100))):
        stdout_console.print(
            line, markup=False, style="bold red" if number == 0 and "FAILED" in line else None
        )
    if "page" in facts:
        stdout_console.print(facts["page"], markup=False)
