"""`study`: grids of runs, evaluated together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, stderr_console, stdout_console
from ssl_sbir.cli.options import JsonOption, PresetOption, SettingsOption, split_comma_list

study_app = typer.Typer(
    no_args_is_help=True, help="Grids of runs, evaluated together: curves, tables and a report."
)
app.add_typer(study_app, name="study")

StudyDataOption = Annotated[str, typer.Option(help="Data to train and evaluate on, such as folder:pets/.")]
StudyRecipeOption = Annotated[str, typer.Option(help="Fine-tuning recipe (ssl-sbir recipes list).")]
StudySplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Published split or JSON file; default: hashed."),
]
LabelFractionsOption = Annotated[
    str, typer.Option(help="Amounts of labels: 0 for the start itself, shares such as 5%, or 5-per-class.")
]
LabelsPerClassOption = Annotated[
    str, typer.Option(help="Labels per class and domain, such as 1,2,5; replaces the shares of --fractions.")
]
StartsOption = Annotated[
    str,
    typer.Option(help="scratch, imagenet, run:PATH; {seed} in a path stands for the run's seed."),
]
StudyDomainsOption = Annotated[str, typer.Option(help="Whose labels: both, sketch, photo.")]
StudyClassesOption = Annotated[str, typer.Option(help="Numbers of labelled classes, such as 10,50,all.")]
SelectionOption = Annotated[
    str,
    typer.Option(
        "--choose",
        help="How to select images to label: stratified, random, k-centre, uncertainty, cluster-balanced.",
    ),
]
SeedsOption = Annotated[int, typer.Option(help="Number of seeds.")]
StudyProtocolOption = Annotated[str, typer.Option(help="Protocol of the evaluation.")]
StudyMetricOption = Annotated[str, typer.Option(help="Metric of the report.")]
StudyCenterOption = Annotated[str, typer.Option(help="Centring of the evaluation: none or train.")]
StudyFolderOption = Annotated[Path, typer.Option("--out", help="Folder of the study.")]
JobsOption = Annotated[int, typer.Option(help="Number of runs at a time; threads are divided among them.")]
RetryFailedOption = Annotated[bool, typer.Option("--retry-failed", help="Repeat failed runs.")]


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
    preset: PresetOption = None,
    settings: SettingsOption = None,
    protocol: StudyProtocolOption = "standard",
    metric: StudyMetricOption = "mAP@all",
    centre: StudyCenterOption = "none",
    price: Annotated[float, typer.Option(help="Price of a label for the report's cost calculator.")] = 0.10,
    out_folder: StudyFolderOption = Path("runs/study-labels"),
    jobs: JobsOption = 1,
    retry: RetryFailedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Accuracy by number of labels and starting point; resumes an interrupted study."""
    from ssl_sbir.studies.label_report import write_label_report
    from ssl_sbir.studies.label_study import LabelStudy
    from ssl_sbir.studies.study_request import run_study

    amounts = split_comma_list(fractions)
    if per_class:
        per_class_amounts = [f"{number}-per-class" for number in split_comma_list(per_class)]
        amounts = [amount for amount in amounts if amount == "0"] + per_class_amounts
    study = LabelStudy(
        data=data,
        recipe=recipe,
        split=split,
        amounts=tuple(amounts),
        starts=tuple(split_comma_list(starts)),
        domains=tuple(split_comma_list(domains)),
        classes=tuple(split_comma_list(classes)),
        choices=tuple(split_comma_list(choose)),
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        protocol=protocol,
        metric=metric,
        centre=centre,
    )
    facts = write_label_report(study, run_study(study, out_folder, jobs, retry=retry), out_folder, price)
    failed = [(f"{row['start']}, {row['labels']} labels", row) for row in facts["failed"]]
    _print_study(facts, "answers", failed, as_json=as_json)


SemanticSourcesOption = Annotated[
    str,
    typer.Option(
        help="Such as wordnet,conceptnet:FILE,glove (ssl-sbir semantics lists them); {seed}: the run's seed."
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
    preset: PresetOption = None,
    settings: SettingsOption = None,
    protocol: StudyProtocolOption = "standard",
    metric: StudyMetricOption = "mAP@all",
    centre: StudyCenterOption = "none",
    out_folder: StudyFolderOption = Path("runs/study-semantics"),
    jobs: JobsOption = 1,
    retry: RetryFailedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Which source of class similarity improves accuracy, and by how much; resumes an interrupted study."""
    from ssl_sbir.studies.semantics_report import write_semantics_report
    from ssl_sbir.studies.semantics_study import SemanticsStudy, TiltStrength
    from ssl_sbir.studies.study_request import run_study

    study = SemanticsStudy(
        data=data,
        sources=tuple(split_comma_list(sources)),
        strengths=tuple(TiltStrength.from_text(text) for text in split_comma_list(strengths)),
        recipe=recipe,
        split=split,
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        protocol=protocol,
        metric=metric,
        centre=centre,
    )
    facts = write_semantics_report(study, run_study(study, out_folder, jobs, retry=retry), out_folder)
    failed = [(f"{row['source']}, {row['strength']}", row) for row in facts["failed"]]
    _print_study(facts, "verdict", failed, as_json=as_json)


def _print_study(
    facts: dict[str, Any], answers: str, failed: Sequence[tuple[str, dict[str, Any]]], *, as_json: bool
) -> None:
    """Prints failed runs, the study's results and the path of its page."""
    for what, row in failed:
        stderr_console.print(f"no result: {what}, seed {row['seed']}: {row['cause']}", markup=False)
    if as_json:
        print_json(facts)
        return
    for line in facts[answers]:
        stdout_console.print(line, markup=False)
    stdout_console.print(facts["page"], markup=False)
