"""`study_app`: grids of runs, read together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, stderr_console, stdout_console

study_app = typer.Typer(no_args_is_help=True, help="Grids of runs, read together: curves, tables, a report.")
app.add_typer(study_app, name="study")

StudyDataOption = Annotated[str, typer.Option(help="What to train and evaluate on, such as folder:pets/.")]
StudyRecipeOption = Annotated[str, typer.Option(help="What fine-tunes (ssl-sbir recipes list).")]
StudySplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Published split, JSON file, or hashed, which is the default."),
]
LabelFractionsOption = Annotated[
    str, typer.Option(help="Amounts of labels: 0 for the start itself, shares such as 5%, or 5-per-class.")
]
LabelsPerClassOption = Annotated[
    str, typer.Option(help="Labels per class and domain, such as 1,2,5: in the place of --fractions' shares.")
]
StartsOption = Annotated[
    str,
    typer.Option(help="scratch, imagenet, run:PATH; with {seed} in its path, another run for each seed."),
]
StudyDomainsOption = Annotated[str, typer.Option(help="Whose labels: both, sketch, photo.")]
StudyClassesOption = Annotated[str, typer.Option(help="Numbers of labelled classes, such as 10,50,all.")]
SelectionOption = Annotated[
    str,
    typer.Option(
        "--choose", help="What to label next: stratified, random, k-centre, uncertainty, cluster-balanced."
    ),
]
StudySettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the recipe, such as optim.epochs=3; may be repeated."),
]
SeedsOption = Annotated[int, typer.Option(help="Number of seeds.")]
StudyPresetOption = Annotated[str | None, typer.Option(help="Named settings that come with a recipe.")]
StudyProtocolOption = Annotated[str, typer.Option(help="A published definition.")]
StudyMetricOption = Annotated[str, typer.Option(help="Of the protocol; what the report is about.")]
StudyCenterOption = Annotated[str, typer.Option(help="Of the evaluation: none or train.")]
StudyFolderOption = Annotated[Path, typer.Option("--out", help="Folder of the study.")]
JobsOption = Annotated[int, typer.Option(help="Runs at a time; threads are divided among them.")]
RetryFailedOption = Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")]
StudyJsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@study_app.command("labels")
def study_labels(
    data: StudyDataOption,
    recipe: StudyRecipeOption = "sake",
    split: StudySplitOption = None,
    fractions: LabelFractionsOption = "0,1%,5%,10%,25%,100%",
    per_class: LabelsPerClassOption = "",
    starts: StartsOption = "scratch,imagenet",
    domains: StudyDomainsOption = "both",
    classes: StudyClassesOption = "all",
    choose: SelectionOption = "stratified",
    seeds: SeedsOption = 3,
    preset: StudyPresetOption = None,
    settings: StudySettingsOption = None,
    protocol: StudyProtocolOption = "standard",
    metric: StudyMetricOption = "mAP@all",
    centre: StudyCenterOption = "none",
    price: Annotated[float, typer.Option(help="Of a label, for the report's cost calculator.")] = 0.10,
    out_folder: StudyFolderOption = Path("runs/study-labels"),
    jobs: JobsOption = 1,
    retry: RetryFailedOption = False,
    as_json: StudyJsonOption = False,
) -> None:
    """How much accuracy a label buys, from which start; resumes where it was."""
    from ssl_sbir.studies.label_report import write_label_report
    from ssl_sbir.studies.label_study import LabelStudy
    from ssl_sbir.studies.study_request import run_study

    shares = _split_values(fractions)
    if per_class:
        shares = tuple(name for name in shares if name == "0") + tuple(
            f"{number}-per-class" for number in _split_values(per_class)
        )
    asked = LabelStudy(
        data=data,
        recipe=recipe,
        split=split,
        amounts=shares,
        starts=_split_values(starts),
        domains=_split_values(domains),
        classes=_split_values(classes),
        choices=_split_values(choose),
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        protocol=protocol,
        metric=metric,
        centre=centre,
    )
    facts = write_label_report(asked, run_study(asked, out_folder, jobs, retry=retry), out_folder, price)
    failed = [(f"{row['start']}, {row['labels']} labels", row) for row in facts["failed"]]
    _print_study(facts, "answers", failed, as_json=as_json)


SemanticSourcesOption = Annotated[
    str,
    typer.Option(
        help="Such as wordnet,conceptnet:FILE,glove (ssl-sbir semantics lists them); {seed} is the run's."
    ),
]
TiltStrengthsOption = Annotated[
    str, typer.Option(help="How far similarity tilts the teacher: published:λ, or calibrated:SHARE.")
]


@study_app.command("semantics")
def study_semantics(
    data: StudyDataOption,
    sources: SemanticSourcesOption = "none,shuffled:{seed}:wordnet,wordnet,glove",
    strengths: TiltStrengthsOption = "published:.3,published:3,calibrated:.5",
    recipe: StudyRecipeOption = "sake",
    split: StudySplitOption = None,
    seeds: SeedsOption = 3,
    preset: StudyPresetOption = None,
    settings: StudySettingsOption = None,
    protocol: StudyProtocolOption = "standard",
    metric: StudyMetricOption = "mAP@all",
    centre: StudyCenterOption = "none",
    out_folder: StudyFolderOption = Path("runs/study-semantics"),
    jobs: JobsOption = 1,
    retry: RetryFailedOption = False,
    as_json: StudyJsonOption = False,
) -> None:
    """Which source of class similarity helps, how strongly, and whether any does; resumes where it was."""
    from ssl_sbir.studies.semantics_report import write_semantics_report
    from ssl_sbir.studies.semantics_study import SemanticsStudy, TiltStrength
    from ssl_sbir.studies.study_request import run_study

    asked = SemanticsStudy(
        data=data,
        sources=_split_values(sources),
        strengths=tuple(TiltStrength.from_text(text) for text in _split_values(strengths)),
        recipe=recipe,
        split=split,
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        protocol=protocol,
        metric=metric,
        centre=centre,
    )
    facts = write_semantics_report(asked, run_study(asked, out_folder, jobs, retry=retry), out_folder)
    failed = [(f"{row['source']}, {row['strength']}", row) for row in facts["failed"]]
    _print_study(facts, "verdict", failed, as_json=as_json)


def _print_study(
    facts: dict[str, Any], answers: str, failed: Sequence[tuple[str, dict[str, Any]]], *, as_json: bool
) -> None:
    """Prints the runs that failed, then what a study found and where its page is."""
    for what, row in failed:
        stderr_console.print(f"no result: {what}, seed {row['seed']}: {row['cause']}", markup=False)
    if as_json:
        print_json(facts)
        return
    for line in facts[answers]:
        stdout_console.print(line, markup=False)
    stdout_console.print(facts["page"], markup=False)


def _split_values(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
