"""What a training command requests, and the settings that follow from it; imports no torch."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssl_sbir.config import SettingsLayer, parse_assignments, read_yaml, resolve_config
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.data.readers import check_data_spec
from ssl_sbir.errors import ConfigError, RunError
from ssl_sbir.renamed_settings import renamed_settings
from ssl_sbir.run import check_run_not_taken
from ssl_sbir.training.recipe_catalog import load_preset, recipe_info, recipe_settings
from ssl_sbir.training.settings import RecipeConfig, TrainingStage

STAGE_COMMANDS = {"pretraining": "pretrain", "finetuning": "finetune"}


@dataclass(frozen=True)
class DeviceConfig:
    """Where a run computes: accelerator (auto, cpu, cuda, mps), processes per node, and nodes."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1


@dataclass(frozen=True)
class TrainingRequest:
    """What a training command requests.

    Attributes:
        recipe: a name or a `.py` file.
        data: data spec, such as "folder:pets".
        out: the run folder to write.
        split: a published split, a JSON file, or None.
        start: a run folder whose weights to start from (`--from`).
        preset: a named set of settings.
        config_file: YAML with settings.
        settings: `key=value` texts.
        labels: which labels of the seen classes to read; seeded by the run's own seed.
        resume: continue the run in `out`.
        overwrite: replace the run in `out`.
        strict: refuse broken images instead of leaving them out.
        device_config: devices.
        photos: data spec whose photos join those of `data`, such as shards of an archive.
    """

    recipe: str
    data: str
    out: Path
    split: str | None = None
    start: Path | None = None
    preset: str | None = None
    config_file: Path | None = None
    settings: Sequence[str] = ()
    labels: LabelBudget = field(default_factory=LabelBudget)
    resume: bool = False
    overwrite: bool = False
    strict: bool = False
    device_config: DeviceConfig = field(default_factory=DeviceConfig)
    photos: str | None = None


def resolve_settings(request: TrainingRequest, stage: TrainingStage) -> tuple[RecipeConfig, dict[str, str]]:
    """The settings of the requested recipe, and where each of them came from.

    Raises:
        ConfigError: unknown recipe, one of the other stage, or a wrong setting.
    """
    info = recipe_info(request.recipe)
    if info.stage != stage:
        raise ConfigError(
            f"'{request.recipe}' is a {info.stage} recipe",
            f"ssl-sbir {STAGE_COMMANDS[info.stage]} {request.recipe} …",
        )
    return resolve_config(
        recipe_settings(request.recipe),
        _settings_layers(request, info.name),
        list_command=f"ssl-sbir recipes show {request.recipe}",
        renamed=renamed_settings(info.name),
    )


def _settings_layers(request: TrainingRequest, recipe: str) -> list[SettingsLayer]:
    layers: list[SettingsLayer] = []
    if request.preset:
        layers.append((f"preset {request.preset}", load_preset(request.preset, recipe)))
    if request.config_file:
        layers.append((str(request.config_file), read_yaml(request.config_file)))
    return [*layers, ("--set", parse_assignments(request.settings))]


def check_request(request: TrainingRequest) -> None:
    """Refuses what can be known before images and weights are read; imports no torch.

    Raises:
        SslSbirError: the run would start from itself, its folder is taken, or there is no such data.
    """
    if request.start is not None and request.start.resolve() == request.out.resolve():
        raise RunError(f"{request.out} can't start from itself", "Choose another folder with --out.")
    if not request.resume:
        check_run_not_taken(request.out, overwrite=request.overwrite)
    for spec in filter(None, (request.data, request.photos)):
        check_data_spec(spec)


def is_first_process(device_config: DeviceConfig) -> bool:
    """Whether this is a run's only process, or the first of several, by the variables of Fabric, torchrun or SLURM.

    A run on one device is its own first process, whatever number the scheduler gave it among others.
    """
    return device_config.devices * device_config.nodes == 1 or all(
        os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    )
