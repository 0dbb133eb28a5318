"""`pretrain` and `finetune`."""

import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_sbir.cli._app import app, print_json, print_message, stdout_console

if TYPE_CHECKING:
    from ssl_sbir.run import RunFolder
    from ssl_sbir.training.pipeline import TrainingRequest
    from ssl_sbir.training.recipe import TrainingStage

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
TrainPresetOption = Annotated[str | None, typer.Option(help="Named settings that come with a recipe.")]
ConfigFileOption = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.")]
TrainSettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, such as optim.lr=1e-4; may be repeated.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print all settings with their origins, and stop.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the unfinished run in --out, bit for bit.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop at an unreadable image instead of leaving it out.")
]
AcceleratorOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
NumDevicesOption = Annotated[int, typer.Option("--devices", help="Processes on this machine, one a device.")]
NumNodesOption = Annotated[int, typer.Option(help="Number of machines.")]
TrainJsonOption = Annotated[bool, typer.Option("--json", help="Print the run's facts as one JSON object.")]


def _build_stage_command(stage: "TrainingStage", default: str) -> Callable[..., None]:
    """The command of a stage: both take the same options, but for those of labels, which pretraining never reads."""

    def stage_command(
        data: TrainDataOption,
        recipe: TrainRecipeArgument = default,
        out: TrainFolderOption = None,
        photos: FurtherPhotosOption = None,
        split: TrainSplitOption = None,
        start: StartRunOption = None,
        preset: TrainPresetOption = None,
        labels: LabelAmountOption = "all",
        label_domains: LabelDomainsOption = "both",
        label_classes: LabelClassesOption = None,
        label_order: LabelOrderOption = None,
        config: ConfigFileOption = None,
        settings: TrainSettingsOption = None,
        dry_run: DryRunOption = False,
        resume: ResumeOption = False,
        overwrite: OverwriteOption = False,
        strict: StrictOption = False,
        accelerator: AcceleratorOption = "auto",
        devices: NumDevicesOption = 1,
        nodes: NumNodesOption = 1,
        as_json: TrainJsonOption = False,
    ) -> None:
        from ssl_sbir.data.label_budget import LabelBudget
        from ssl_sbir.training.loop import DeviceConfig
        from ssl_sbir.training.pipeline import TrainingRequest

        order = TrainingRequest(
            recipe=recipe,
            data=data,
            out=out or Path("runs") / Path(recipe).stem,
            photos=photos,
            split=split,
            start=start,
            preset=preset,
            config_file=config,
            settings=settings or (),
            labels=LabelBudget(labels, label_domains, label_classes, order=label_order),
            resume=resume,
            overwrite=overwrite,
            strict=strict,
            device_config=DeviceConfig(accelerator, devices, nodes),
        )
        _run_training(order, stage, dry_run, as_json)

    if stage == "pretraining":
        signature = inspect.signature(stage_command)
        kept = [it for name, it in signature.parameters.items() if not name.startswith("label")]
        stage_command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return stage_command


app.command("pretrain", help="Train an encoder without labels; default recipe: labelfree.")(
    _build_stage_command("pretraining", "labelfree")
)
app.command("finetune", help="Train an encoder on the labels of seen classes.")(
    _build_stage_command("finetuning", "sake")
)


def _run_training(order: "TrainingRequest", stage: "TrainingStage", dry_run: bool, as_json: bool) -> None:
    from ssl_sbir.config import to_yaml
    from ssl_sbir.training.pipeline import configure_recipe, is_first_process, train

    if dry_run:
        recipe, origins = configure_recipe(order, stage)
        stdout_console.print(to_yaml(recipe.config, origins), markup=False, end="")
        return
    run = train(order, stage, print_message if is_first_process(order.device_config) else lambda _: None)
    if not is_first_process(order.device_config):
        return
    print_message(f"{run.path}/model   ·   next: {_suggest_next_command(order, run, stage)}")
    if as_json:
        print_json({"run": str(run.path), **run.provenance})


def _suggest_next_command(order: "TrainingRequest", run: "RunFolder", stage: "TrainingStage") -> str:
    """The command that usually follows: fine-tuning and evaluating need classes, an index needs photos alone."""
    read, path = ["--data", order.data], str(run.path)
    if stage == "finetuning":
        return shlex.join(["ssl-sbir", "evaluate", path, *read])
    if len(run.provenance["trained_classes"]) < 2:
        return shlex.join(["ssl-sbir", "index", path, order.photos or order.data])
    photos = ["--photos", order.photos] if order.photos else []
    split = ["--split", order.split] if order.split else []
    return shlex.join(["ssl-sbir", "finetune", "sake", *read, *photos, *split, "--from", path])
