"""`study`: grids of runs, read together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_sbir.cli._app import app, emit, err, out

study = typer.Typer(no_args_is_help=True, help="Grids of runs, read together: curves, tables, a report.")
app.add_typer(study, name="study")

Data = Annotated[str, typer.Option(help="What to train and evaluate on, such as folder:pets/.")]
Recipe = Annotated[str, typer.Option(help="What fine-tunes (ssl-sbir recipes list).")]
SplitName = Annotated[
    str | None,
    typer.Option("--split", help="Published split, JSON file, or hashed, which is the default."),
]
Fractions = Annotated[
    str, typer.Option(help="Amounts of labels: 0 for the start itself, shares such as 5%, or 5-per-class.")
]
PerClass = Annotated[
    str, typer.Option(help="Labels per class and domain, such as 1,2,5: in the place of --fractions' shares.")
]
Starts = Annotated[
    str,
    typer.Option(help="scratch, imagenet, run:PATH; with {seed} in its path, another run for each seed."),
]
Domains = Annotated[str, typer.Option(help="Whose labels: both, sketch, photo.")]
Classes = Annotated[str, typer.Option(help="Numbers of labelled classes, such as 10,50,all.")]
Choices = Annotated[
    str,
    typer.Option(
        "--choose", help="What to label next: stratified, random, k-centre, uncertainty, cluster-balanced."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the recipe, such as optim.epochs=3; may be repeated."),
]
Seeds = Annotated[int, typer.Option(help="Number of seeds.")]
Preset = Annotated[str | None, typer.Option(help="Named settings that come with a recipe.")]
Protocol = Annotated[str, typer.Option(help="A published definition.")]
Metric = Annotated[str, typer.Option(help="Of the protocol; what the report is about.")]
Centre = Annotated[str, typer.Option(help="Of the evaluation: none or train.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the study.")]
Jobs = Annotated[int, typer.Option(help="Runs at a time; threads are divided among them.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@study.command()
def labels(
    data: Data,
    recipe: Recipe = "sake",
    split: SplitName = None,
    fractions: Fractions = "0,1%,5%,10%,25%,100%",
    per_class: PerClass = "",
    starts: Starts = "scratch,imagenet",
    domains: Domains = "both",
    classes: Classes = "all",
    choose: Choices = "stratified",
    seeds: Seeds = 3,
    preset: Preset = None,
    settings: Set = None,
    protocol: Protocol = "standard",
    metric: Metric = "mAP@all",
    centre: Centre = "none",
    price: Annotated[float, typer.Option(help="Of a label, for the report's cost calculator.")] = 0.10,
    out_folder: Out = Path("runs/study-labels"),
    jobs: Jobs = 1,
    retry: Retry = False,
    as_json: AsJson = False,
) -> None:
    """How much accuracy a label buys, from which start; resumes where it was."""
    from ssl_sbir.studies.labels import LabelStudy
    from ssl_sbir.studies.report import label_report
    from ssl_sbir.studies.study import run_study

    shares = _listed(fractions)
    if per_class:
        shares = tuple(name for name in shares if name == "0") + tuple(
            f"{number}-per-class" for number in _listed(per_class)
        )
    asked = LabelStudy(
        data=data,
        recipe=recipe,
        split=split,
        amounts=shares,
        starts=_listed(starts),
        domains=_listed(domains),
        classes=_listed(classes),
        choices=_listed(choose),
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        protocol=protocol,
        metric=metric,
        centre=centre,
    )
    facts = label_report(asked, run_study(asked, out_folder, jobs, retry=retry), out_folder, price)
    failed = [(f"{row['start']}, {row['labels']} labels", row) for row in facts["failed"]]
    _told(facts, "answers", failed, as_json=as_json)


Sources = Annotated[
    str,
    typer.Option(
        help="Such as wordnet,conceptnet:FILE,glove (ssl-sbir semantics lists them); {seed} is the run's."
    ),
]
Strengths = Annotated[
    str, typer.Option(help="How far similarity tilts the teacher: published:λ, or calibrated:SHARE.")
]


@study.command()
def semantics(
    data: Data,
    sources: Sources = "none,shuffled:{seed}:wordnet,wordnet,glove",
    strengths: Strengths = "published:.3,published:3,calibrated:.5",
    recipe: Recipe = "sake",
    split: SplitName = None,
    seeds: Seeds = 3,
    preset: Preset = None,
    settings: Set = None,
    protocol: Protocol = "standard",
    metric: Metric = "mAP@all",
    centre: Centre = "none",
    out_folder: Out = Path("runs/study-semantics"),
    jobs: Jobs = 1,
    retry: Retry = False,
    as_json: AsJson = False,
) -> None:
    """Which source of class similarity helps, how strongly, and whether any does; resumes where it was."""
    from ssl_sbir.studies.semantics import SemanticsStudy, Strength
    from ssl_sbir.studies.semantics_report import semantics_report
    from ssl_sbir.studies.study import run_study

    asked = SemanticsStudy(
        data=data,
        sources=_listed(sources),
        strengths=tuple(Strength.of(text) for text in _listed(strengths)),
        recipe=recipe,
        split=split,
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        protocol=protocol,
        metric=metric,
        centre=centre,
    )
    facts = semantics_report(asked, run_study(asked, out_folder, jobs, retry=retry), out_folder)
    failed = [(f"{row['source']}, {row['strength']}", row) for row in facts["failed"]]
    _told(facts, "verdict", failed, as_json=as_json)


def _told(
    facts: dict[str, Any], answers: str, failed: Sequence[tuple[str, dict[str, Any]]], *, as_json: bool
) -> None:
    """Prints the runs that failed, then what a study found and where its page is."""
    for what, row in failed:
        err.print(f"no result: {what}, seed {row['seed']}: {row['cause']}", markup=False)
    if as_json:
        emit(facts)
        return
    for line in facts[answers]:
        out.print(line, markup=False)
    out.print(facts["page"], markup=False)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
