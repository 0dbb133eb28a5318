"""A training run from its settings to its folder: what the commands `pretrain` and `finetune` do."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_sbir import __version__, recipes
from ssl_sbir.config import (
    SettingsLayer,
    hash_named_files,
    parse_assignments,
    read_yaml,
    resolve_config,
    to_yaml,
)
from ssl_sbir.data.batches import Pack, prepare_pack
from ssl_sbir.data.join import add_photos_from
from ssl_sbir.data.label_budget import LabelBudget, label_budget_facts
from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.pixel_hashes import pixel_hashes
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.devices import check_accelerator, resolve_device
from ssl_sbir.encoders import Encoder, has_towers, load_encoder, save_encoder, to_two_towers
from ssl_sbir.errors import ConfigError, DataError, RunError
from ssl_sbir.files import file_sha256, sha256_of
from ssl_sbir.model_card import write_card
from ssl_sbir.run import RunFolder, check_run_not_taken
from ssl_sbir.seeding import seed_everything
from ssl_sbir.semantics import forbid_unseen_classes
from ssl_sbir.training.loop import DeviceConfig, fit, resolve_precision
from ssl_sbir.training.recipe import Recipe, RecipeConfig, TrainingStage

VERSIONED_PACKAGES = ("torch", "torchvision", "lightly", "kornia", "timm", "transformers", "numpy")


@dataclass(frozen=True)
class TrainingRequest:
    """What a training command was asked for.

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
        resume: go on with the run in `out`.
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


def configure_recipe(request: TrainingRequest, stage: TrainingStage) -> tuple[Recipe, dict[str, str]]:
    """The recipe with its settings, and where each setting came from.

    Raises:
        ConfigError: unknown recipe, one of the other stage, or a wrong setting.
    """
    kind = recipes.load_recipe(request.recipe)
    if kind.stage != stage:
        other = "finetune" if stage == "pretraining" else "pretrain"
        raise ConfigError(
            f"'{request.recipe}' is a {kind.stage} recipe", f"ssl-sbir {other} {request.recipe} …"
        )
    layers: list[SettingsLayer] = []
    if request.preset:
        layers.append((f"preset {request.preset}", recipes.load_preset(request.preset, kind)))
    if request.config_file:
        layers.append((str(request.config_file), read_yaml(request.config_file)))
    layers.append(("--set", parse_assignments(request.settings)))
    config, origins = resolve_config(
        kind.Config, layers, list_command=f"ssl-sbir recipes show {request.recipe}"
    )
    return kind(config), origins


def train(request: TrainingRequest, stage: TrainingStage, say: Any = print) -> RunFolder:
    """Runs a recipe on a data set and leaves a run folder.

    Args:
        request: what to do.
        stage: pretraining (labels are never read) or finetuning (labels of seen classes are).
        say: prints a line for people.

    Returns:
        The finished run.

    Raises:
        SslSbirError: data, settings, encoder or run folder are wrong. What is refused before the first step leaves
            no folder behind, and an older run that was to be replaced where it is.
    """
    if request.start is not None and request.start.resolve() == request.out.resolve():
        raise RunError(f"{request.out} can't go on from itself", "Choose another folder with --out.")
    first = is_first_process(request.device_config)
    if first and not request.resume:
        check_run_not_taken(request.out, overwrite=request.overwrite)
    ready = _prepare_run(request, stage, say)
    recipe, data, run = ready.recipe, ready.data, RunFolder(request.out)
    if first and request.resume:
        _check_same_run(request, recipe, ready.facts)

    def open_run() -> RunFolder:
        if first and not request.resume:
            RunFolder.create(
                request.out,
                to_yaml(recipe.config),
                ready.facts,
                images=_hash_seen_images(request, data),
                overwrite=request.overwrite,
            )
        return run

    split = ready.facts["split"] or {"unseen": ()}
    with forbid_unseen_classes(split["unseen"]):
        encoder = fit(recipe, ready.encoder, data, open_run, request.device_config)
    if first:
        write_card(run, encoder)
    return run


def _hash_seen_images(request: TrainingRequest, data: TrainingSet) -> NDArray[np.int64]:
    """The hashes of a run's images and of those that the run it starts from saw."""
    before = [RunFolder.open(request.start).trained_images()] if request.start else []
    return np.concatenate([*before, *(pixel_hashes(data.pack, rows) for rows in data.rows.values())])


def is_first_process(device_config: DeviceConfig) -> bool:
    """Whether this is a run's only process, or the first of several, by what Fabric, torchrun or SLURM tell it.

    A run on one device is its own first process, whatever number the scheduler gave it among others.
    """
    return device_config.devices * device_config.nodes == 1 or all(
        os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    )


def export_untrained(request: TrainingRequest, stage: TrainingStage, say: Any = print) -> RunFolder:
    """The encoder that a run would start from, as a finished run that read nothing: what training has to beat.

    Raises:
        SslSbirError: as `enter_training_mode` does.
    """
    ready = _prepare_run(replace(request, labels=LabelBudget()), stage, say)
    before = RunFolder.open(request.start).provenance if request.start else {}
    classes = {key: list(before.get(key, ())) for key in ("trained_classes", "labelled_classes")}
    read = {"labels_used": False, "labels": None, "images": {"sketch": 0, "photo": 0}, **classes}
    facts = {**ready.facts, "recipe": "untrained", "stage": "none", **read}
    run = RunFolder.create(request.out, to_yaml(ready.recipe.config), facts, overwrite=True)
    save_encoder(ready.encoder, run.path / "model")
    write_card(run, ready.encoder)
    return run


def load_starting_point(request: TrainingRequest, stage: TrainingStage) -> tuple[Encoder, TrainingSet]:
    """The encoder that a run would start from, and the images and labels it would read.

    Raises:
        SslSbirError: as `enter_training_mode` does.
    """
    ready = _prepare_run(request, stage, lambda _: None)
    return ready.encoder, ready.data


@dataclass(frozen=True)
class _PreparedRun:
    """Everything a run needs before its first step, and what its provenance will say."""

    recipe: Recipe
    encoder: Encoder
    data: TrainingSet
    facts: dict[str, Any]


def _prepare_run(request: TrainingRequest, stage: TrainingStage, say: Any) -> _PreparedRun:
    recipe, origins = configure_recipe(request, stage)
    if stage == "pretraining" and not request.labels.includes_all_labels:
        raise ConfigError("--labels: pretraining reads none", "Leave it out, or use ssl-sbir finetune.")
    manifest = open_requested_data(request)
    split = choose_split(request.split, manifest, stage)
    if request.start and split:
        _check_no_leaked_labels(request.start, split, say)
    encoder = _load_start_encoder(request, recipe, origins)
    pack = prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit, strict=request.strict)
    data = TrainingSet.from_manifest(
        manifest, pack, split.seen if split else None, labelled=stage == "finetuning"
    )
    labels = replace(request.labels, seed=recipe.config.seed)
    data = labels.apply_to(data)
    _print_summary(recipe, encoder, data, pack, request, say)
    if not labels.includes_all_labels:
        say(f"labels {_format_label_counts(label_budget_facts(labels, data))}")
    return _PreparedRun(
        recipe, encoder, data, _collect_provenance(request, recipe, manifest, split, data, labels)
    )


def open_requested_data(request: TrainingRequest) -> Manifest:
    """The images that an order names."""
    manifest = open_data(request.data)
    return add_photos_from(manifest, open_data(request.photos)) if request.photos else manifest


def choose_split(name: str | None, manifest: Manifest, stage: TrainingStage) -> Split | None:
    """The split of that name cut down to the classes that are there; without a name, a hashed one.

    Pretraining without a named split takes every image, labelled or not, and needs no split.
    """
    if name is None:
        return Split.from_class_hashes(manifest.classes) if stage == "finetuning" else None
    return Split.from_name(name, manifest.classes)


def _check_no_leaked_labels(start: Path, split: Split, say: Any) -> None:
    """Refuses to go on from a run that was taught labels of unseen classes; says so if it saw their images alone."""
    before = RunFolder.open(start).provenance
    taught, seen = (
        sorted(set(split.unseen).intersection(before.get(key, ())))
        for key in ("labelled_classes", "trained_classes")
    )
    if taught:
        more = f" and {len(taught) - 1} more" if len(taught) > 1 else ""
        raise DataError(
            f"{start} was taught labels of '{taught[0]}'{more}, which the split {split.name} holds out",
            "Start from a run of the same split, or give the split that it was trained on.",
        )
    if seen:
        say(f"TRANSDUCTIVE: {start} saw unlabelled images of {len(seen)} classes that are unseen here")


def _load_start_encoder(request: TrainingRequest, recipe: Recipe, origins: Mapping[str, str]) -> Encoder:
    """The encoder to start from; of a run that is gone on with, the settings come to say what it is."""
    wanted = recipe.config.encoder
    if request.start is None:
        seed_everything(recipe.config.seed)  # an encoder without published weights starts at random
        encoder = load_encoder(wanted.name, size=wanted.size, pretrained=wanted.pretrained)
    else:
        run = RunFolder.open(request.start)
        encoder, root = run.encoder(), run.provenance["start"]
        there = {key: root[key] for key in ("name", "pretrained") if key in root}
        there |= {"size": encoder.preprocess.size, "fit": encoder.preprocess.fit}
        there["towers"] = "separate" if has_towers(encoder) else "shared"
        if wanted.towers == "separate":
            there.pop("towers")  # one that is shared can be divided
        if wanted.fit is None:
            there.pop("fit")  # as the encoder does
        for key, found in there.items():
            asked = getattr(wanted, key)
            if asked != found and origins[f"encoder.{key}"] != "default":
                raise ConfigError(
                    f"encoder.{key} = {asked} ({origins[f'encoder.{key}']}): {request.start} has {found}",
                    "Leave it out: with --from the encoder is that of the run.",
                )
        wanted = wanted.model_copy(update=there)
        recipe.config = recipe.config.model_copy(update={"encoder": wanted})
    if wanted.fit is not None:
        encoder = encoder.with_fit(wanted.fit)
    return to_two_towers(encoder) if wanted.towers == "separate" else encoder


def _format_label_counts(labels: Mapping[str, Any]) -> str:
    counted = " · ".join(f"{count:,} {domain}" for domain, count in labels["count"].items())
    return f"{labels['amount']} of {labels['classes']} classes: {counted} labels"


def _print_summary(
    recipe: Recipe, encoder: Encoder, data: TrainingSet, pack: Pack, request: TrainingRequest, say: Any
) -> None:
    sketches, photos = (len(data.rows[d]) for d in sorted(data.rows))
    labels = f"{len(data.classes)} classes" if data.classes else "labels not used"
    say(f"photos {photos:,} · sketches {sketches:,} · {labels}")
    lost = data.manifest.read_errors
    if lost:
        say(f"left out {len(lost):,}: {'; '.join(lost[:3])}{' …' if len(lost) > 3 else ''}")
    if pack.broken:
        names = ", ".join(f"{b.key} ({b.reason})" for b in pack.broken[:3])
        say(f"{len(pack.broken)} unreadable images left out: {names}{' …' if len(pack.broken) > 3 else ''}")
    config, asked = recipe.config, recipe.config.encoder
    weights = f"of {request.start}" if request.start else "published" if asked.pretrained else "random"
    count = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    check_accelerator(request.device_config.accelerator, request.device_config.devices)
    device = (
        resolve_device() if request.device_config.accelerator == "auto" else request.device_config.accelerator
    )
    precision = resolve_precision(config.precision, request.device_config.accelerator, encoder)
    say(f"{recipe.name} · encoder {asked.name}, {count:.1f} M parameters, {weights} weights")
    say(f"{encoder.preprocess.size} px · {device}, {precision} · seed {config.seed}")


def _collect_provenance(
    request: TrainingRequest,
    recipe: Recipe,
    manifest: Manifest,
    split: Split | None,
    data: TrainingSet,
    labels: LabelBudget,
) -> dict[str, Any]:
    before = RunFolder.open(request.start).provenance if request.start else {}
    codes = np.unique(np.concatenate([manifest.label[rows] for rows in data.rows.values()]))
    seen = {manifest.classes[code] for code in codes if code >= 0}
    return {
        "stage": recipe.stage,
        "recipe": recipe.name,
        "command": sys.argv[1:],
        "data": request.data,
        "photos": request.photos,
        "manifest_sha256": manifest.sha256,
        "split": split and split.facts(),
        "trained_classes": sorted(seen.union(before.get("trained_classes", ()))),
        "labelled_classes": sorted({*data.classes, *before.get("labelled_classes", ())}),
        "labels_used": bool(data.classes),
        "labels": label_budget_facts(labels, data) if data.classes else None,
        "images": {d.name.lower(): len(rows) for d, rows in data.rows.items()},
        "left_out": [b.key for b in data.pack.broken],
        "lost": list(manifest.read_errors),
        "rows_sha256": sha256_of(*(rows.tobytes() for rows in data.rows.values())),
        "files": {**hash_named_files(recipe.config.model_dump(mode="json")), **_hash_own_files(request)},
        "start": _root_encoder(request, recipe),
        "from": str(request.start) if request.start else None,
        "seed": recipe.config.seed,
        "versions": {"ssl-sbir": __version__, "python": platform.python_version(), **_package_versions()},
        "git": _git_commit(),
    }


def _hash_own_files(request: TrainingRequest) -> dict[str, str]:
    """Hashes of a recipe of the user's and of the weights that a run starts from."""
    found = {"recipe": Path(request.recipe)} if request.recipe.endswith(".py") else {}
    if request.start is not None:
        found["--from"] = request.start / "model" / "model.safetensors"
    return {what: file_sha256(file) for what, file in found.items()}


def _root_encoder(request: TrainingRequest, recipe: Recipe) -> dict[str, Any]:
    """The encoder at the root of a chain of runs: what the frozen row of an evaluation shows."""
    if request.start is not None:
        return dict(RunFolder.open(request.start).provenance["start"])
    return recipe.config.encoder.model_dump()


def _package_versions() -> dict[str, str]:
    found = {}
    for name in VERSIONED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """The commit of the checkout the package runs from, with a mark when it has changes; None elsewhere."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def _check_same_run(request: TrainingRequest, recipe: Recipe, facts: Mapping[str, Any]) -> None:
    """Refuses to resume a run that is finished, or another one than is asked for."""
    run = RunFolder.open(request.out)
    if run.is_finished:
        raise RunError(f"{request.out} is finished: nothing to resume", "Start over with --overwrite.")
    made = run.provenance
    for key, found in _run_identity(made).items():
        if found != _run_identity(facts).get(key):
            raise RunError(
                f"{request.out} was made with another {key.replace('_', ' ')} ({found})",
                "Resume with the command that started it, or start over with --overwrite.",
            )
    if run.config != RecipeConfig.model_dump(recipe.config, mode="json"):
        raise RunError(
            f"{request.out} was made with other settings", f"They are in {request.out}/config.yaml."
        )


def _run_identity(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to be resumed rather than mixed with another."""
    split, labels = facts["split"] or {"sha256": None}, facts.get("labels") or {"sha256": None}
    shared = {key: facts[key] for key in ("recipe", "manifest_sha256", "start", "from")}
    readable = {"set of readable images": facts.get("rows_sha256")}
    files = {f"file of {key}": digest for key, digest in facts.get("files", {}).items()}
    return {**shared, "split": split["sha256"], "labels": labels["sha256"], **readable, **files}
