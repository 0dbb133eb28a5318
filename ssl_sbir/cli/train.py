"""`pretrain` and `finetune`."""

import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_sbir.cli._app import app, emit, out, say

if TYPE_CHECKING:
    from ssl_sbir.recipe import Stage
    from ssl_sbir.run import RunFolder
    from ssl_sbir.training import Order

Recipe = Annotated[
    str, typer.Argument(help="Name of a recipe (ssl-sbir recipes list) or a .py file of your own.")
]
Data = Annotated[str, typer.Option(help="What to train on, such as folder:pets/ (ssl-sbir data list).")]
Photos = Annotated[
    str | None,
    typer.Option(help="Further photos, such as shards:archive-{0000..0099}.tar beside a folder of sketches."),
]
Out = Annotated[Path | None, typer.Option(help="Run folder to write; runs/RECIPE by default.")]
SplitName = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Published split, JSON file, or hashed, which holds out a fifth of the classes by the hash of their "
        "names: trains on its seen classes. Without it, finetune takes hashed, and pretrain every image.",
    ),
]
Labels = Annotated[
    str,
    typer.Option(help="How many labels of seen classes to read: all, such as 10%, or such as 5-per-class."),
]
LabelDomains = Annotated[str, typer.Option(help="Whose labels: both, sketch or photo.")]
LabelClasses = Annotated[
    str | None, typer.Option(help="How many seen classes have labels, or which: cow,horse.")
]
LabelOrder = Annotated[
    str | None,
    typer.Option(help="Text file of image names, most wanted first: label the first ones, of any class."),
]
From = Annotated[Path | None, typer.Option("--from", help="Start from the encoder of this run.")]
Preset = Annotated[str | None, typer.Option(help="Named settings that come with a recipe.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, such as optim.lr=1e-4; may be repeated.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print all settings with their origins, and stop.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the unfinished run in --out, bit for bit.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at an unreadable image instead of leaving it out.")
]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Number = Annotated[int, typer.Option("--devices", help="Processes on this machine, one a device.")]
Nodes = Annotated[int, typer.Option(help="Number of machines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the run's facts as one JSON object.")]


def _command(stage: "Stage", default: str) -> Callable[..., None]:
    """The command of a stage: both take the same options, but for those of labels, which pretraining never reads."""

    def command(
        data: Data,
        recipe: Recipe = default,
        out: Out = None,
        photos: Photos = None,
        split: SplitName = None,
        start: From = None,
        preset: Preset = None,
        labels: Labels = "all",
        label_domains: LabelDomains = "both",
        label_classes: LabelClasses = None,
        label_order: LabelOrder = None,
        config: ConfigFile = None,
        settings: Set = None,
        dry_run: DryRun = False,
        resume: Resume = False,
        overwrite: Overwrite = False,
        strict: Strict = False,
        accelerator: Accelerator = "auto",
        devices: Number = 1,
        nodes: Nodes = 1,
        as_json: AsJson = False,
    ) -> None:
        from ssl_sbir.data.labels import LabelBudget
        from ssl_sbir.engine import Devices
        from ssl_sbir.training import Order

        order = Order(
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
            where=Devices(accelerator, devices, nodes),
        )
        _run(order, stage, dry_run, as_json)

    if stage == "pretraining":
        signature = inspect.signature(command)
        kept = [it for name, it in signature.parameters.items() if not name.startswith("label")]
        command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    return command


app.command("pretrain", help="Train an encoder without labels; default recipe: labelfree.")(
    _command("pretraining", "labelfree")
)
app.command("finetune", help="Train an encoder on the labels of seen classes.")(
    _command("finetuning", "sake")
)


def _run(order: "Order", stage: "Stage", dry_run: bool, as_json: bool) -> None:
    from ssl_sbir.config import to_yaml
    from ssl_sbir.training import configured, first_process, train

    if dry_run:
        recipe, origins = configured(order, stage)
        out.print(to_yaml(recipe.config, origins), markup=False, end="")
        return
    run = train(order, stage, say if first_process(order.where) else lambda _: None)
    if not first_process(order.where):
        return
    say(f"{run.path}/model   ·   next: {_next(order, run, stage)}")
    if as_json:
        emit({"run": str(run.path), **run.provenance})


def _next(order: "Order", run: "RunFolder", stage: "Stage") -> str:
    """The command that usually follows: fine-tuning and evaluating need classes, an index needs photos alone."""
    read, path = ["--data", order.data], str(run.path)
    if stage == "finetuning":
        return shlex.join(["ssl-sbir", "evaluate", path, *read])
    if len(run.provenance["trained_classes"]) < 2:
        return shlex.join(["ssl-sbir", "index", path, order.photos or order.data])
    photos = ["--photos", order.photos] if order.photos else []
    split = ["--split", order.split] if order.split else []
    return shlex.join(["ssl-sbir", "finetune", "sake", *read, *photos, *split, "--from", path])
