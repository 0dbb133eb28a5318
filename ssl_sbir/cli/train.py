"""`pretrain` and `finetune`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console
from ssl_sbir.cli.options import JsonOption, PresetOption, SettingsOption

if TYPE_CHECKING:
    from ssl_sbir.run import RunFolder
    from ssl_sbir.training.settings import TrainingStage
    from ssl_sbir.training.training_request import TrainingRequest

TrainRecipeArgument = Annotated[
    str, typer.Argument(help="Name of a recipe (ssl-sbir recipes list) or a .py file of your own.")
]
TrainDataOption = Annotated[
    str, typer.Option(help="What to train on, such as folder:pets/ (ssl-sbir data list).")
]
FurtherPhotosOption = Annotated[
    str | None,
    typer.Option(help="Further photos, such as shards:archive-{0000..0099}.tar beside a folder of sketches."),
]
TrainFolderOption = Annotated[Path | None, typer.Option(help="Run folder to write; runs/RECIPE by default.")]
TrainSplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Published split, JSON file, or hashed, which holds out a fifth of the classes by the hash of their "
        "names: trains on its seen classes. Without it, finetune takes hashed, and pretrain every image.",
    ),
]
LabelAmountOption = Annotated[
    str,
    typer.Option(help="How many labels of seen classes to read: all, such as 10%, or such as 5-per-class."),
]
LabelDomainsOption = Annotated[str, typer.Option(help="Whose labels: both, sketch or photo.")]
LabelClassesOption = Annotated[
    str | None, typer.Option(help="How many seen classes have labels, or which: cow,horse.")
]
LabelOrderOption = Annotated[
    str | None,
    typer.Option(help="Text file of image names, most wanted first: label the first ones, of any class."),
]
StartRunOption = Annotated[Path | None, typer.Option("--from", help="Start from the encoder of this run.")]
ConfigFileOption = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print all settings with their origins, and stop.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Resume the unfinished run in --out, bit for bit.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop at an unreadable image instead of leaving it out.")
]
AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
NumDevicesOption = Annotated[int, typer.Option("--devices", help="Processes on this machine, one a device.")]
NumNodesOption = Annotated[int, typer.Option(help="Number of machines.")]


@app.command("pretrain")
def pretrain_command(
    data: TrainDataOption,
    recipe: TrainRecipeArgument = "labelfree",
    out: TrainFolderOption = None,
    photos: FurtherPhotosOption = None,
    split: TrainSplitOption = None,
    start: StartRunOption = None,
    preset: PresetOption = None,
    config: ConfigFileOption = None,
    settings: SettingsOption = None,
    dry_run: DryRunOption = False,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
    accelerator: AcceleratorOption = "auto",
    devices: NumDevicesOption = 1,
    nodes: NumNodesOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder without labels."""
    _run_training(
        "pretraining",
        dry_run,
        as_json,
        recipe=recipe,
        data=data,
        out=out,
        photos=photos,
        split=split,
        start=start,
        preset=preset,
        config_file=config,
        settings=settings,
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        devices=(accelerator, devices, nodes),
    )


@app.command("finetune")
def finetune_command(
    data: TrainDataOption,
    recipe: TrainRecipeArgument = "sake",
    out: TrainFolderOption = None,
    photos: FurtherPhotosOption = None,
    split: TrainSplitOption = None,
    start: StartRunOption = None,
    preset: PresetOption = None,
    labels: LabelAmountOption = "all",
    label_domains: LabelDomainsOption = "both",
    label_classes: LabelClassesOption = None,
    label_order: LabelOrderOption = None,
    config: ConfigFileOption = None,
    settings: SettingsOption = None,
    dry_run: DryRunOption = False,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
    accelerator: AcceleratorOption = "auto",
    devices: NumDevicesOption = 1,
    nodes: NumNodesOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder on the labels of seen classes."""
    from ssl_sbir.data.label_budget import LabelBudget

    _run_training(
        "finetuning",
        dry_run,
        as_json,
        recipe=recipe,
        data=data,
        out=out,
        photos=photos,
        split=split,
        start=start,
        preset=preset,
        config_file=config,
        settings=settings,
        labels=LabelBudget(labels, label_domains, label_classes, order=label_order),
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        devices=(accelerator, devices, nodes),
    )


def _run_training(
    stage: "TrainingStage",
    dry_run: bool,
    as_json: bool,
    *,
    recipe: str,
    out: Path | None,
    settings: list[str] | None,
    devices: tuple[str, int, int],
    **options: Any,
) -> None:
    """Trains, or prints the settings; what can be refused without torch is refused before it is imported."""
    from ssl_sbir.config import to_yaml
    from ssl_sbir.training.training_request import (
        DeviceConfig,
        TrainingRequest,
        check_request,
        is_first_process,
        resolve_settings,
    )

    request = TrainingRequest(
        recipe=recipe,
        out=out or Path("runs") / Path(recipe).stem,
        settings=settings or (),
        device_config=DeviceConfig(*devices),
        **options,
    )
    config, origins = resolve_settings(request, stage)
    if dry_run:
        stdout_console.print(to_yaml(config, origins), markup=False, end="")
        return
    first = is_first_process(request.device_config)
    if first:
        check_request(request)
    from ssl_sbir.training.pipeline import train

    run = train(request, stage, print_message if first else lambda _: None)
    if not first:
        return
    print_message(f"{run.path}/model   ·   next: {_suggest_next_command(request, run, stage)}")
    if as_json:
        print_json({"run": str(run.path), **run.provenance})


def _suggest_next_command(request: "TrainingRequest", run: "RunFolder", stage: "TrainingStage") -> str:
    """The command that usually follows: fine-tuning and evaluating need classes, an index needs photos alone."""
    read, path = ["--data", request.data], str(run.path)
    if stage == "finetuning":
        return shlex.join(["ssl-sbir", "evaluate", path, *read])
    if len(run.provenance["trained_classes"]) < 2:
        return shlex.join(["ssl-sbir", "index", path, request.photos or request.data])
    photos = ["--photos", request.photos] if request.photos else []
    split = ["--split", request.split] if request.split else []
    return shlex.join(["ssl-sbir", "finetune", "sake", *read, *photos, *split, "--from", path])
