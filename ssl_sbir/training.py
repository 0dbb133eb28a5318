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
from ssl_sbir.card import write_card
from ssl_sbir.config import Layer, named_files, parse_assignments, read_yaml, resolve, to_yaml
from ssl_sbir.data.joined import with_photos
from ssl_sbir.data.labels import LabelBudget, label_facts
from ssl_sbir.data.loading import Pack, prepare
from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.pixels import pixel_hashes
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.devices import device_of, refuse_absent
from ssl_sbir.encoders import Encoder, has_towers, load_encoder, save_encoder, separated
from ssl_sbir.engine import Devices, fit, precision_of
from ssl_sbir.errors import ConfigError, DataError, RunError
from ssl_sbir.files import file_sha256, sha256_of
from ssl_sbir.recipe import Recipe, RecipeConfig, Stage
from ssl_sbir.run import RunFolder, refuse_taken
from ssl_sbir.seeding import seed_everything
from ssl_sbir.semantics import without

VERSIONED = ("torch", "torchvision", "lightly", "kornia", "timm", "transformers", "numpy")


@dataclass(frozen=True)
class Order:
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
        where: devices.
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
    where: Devices = field(default_factory=Devices)
    photos: str | None = None


def configured(order: Order, stage: Stage) -> tuple[Recipe, dict[str, str]]:
    """The recipe with its settings, and where each setting came from.

    Raises:
        ConfigError: unknown recipe, one of the other stage, or a wrong setting.
    """
    kind = recipes.load(order.recipe)
    if kind.stage != stage:
        other = "finetune" if stage == "pretraining" else "pretrain"
        raise ConfigError(f"'{order.recipe}' is a {kind.stage} recipe", f"ssl-sbir {other} {order.recipe} …")
    layers: list[Layer] = []
    if order.preset:
        layers.append((f"preset {order.preset}", recipes.preset(order.preset, kind)))
    if order.config_file:
        layers.append((str(order.config_file), read_yaml(order.config_file)))
    layers.append(("--set", parse_assignments(order.settings)))
    config, origins = resolve(kind.Config, layers, listed=f"ssl-sbir recipes show {order.recipe}")
    return kind(config), origins


def train(order: Order, stage: Stage, say: Any = print) -> RunFolder:
    """Runs a recipe on a data set and leaves a run folder.

    Args:
        order: what to do.
        stage: pretraining (labels are never read) or finetuning (labels of seen classes are).
        say: prints a line for people.

    Returns:
        The finished run.

    Raises:
        SslSbirError: data, settings, encoder or run folder are wrong. What is refused before the first step leaves
            no folder behind, and an older run that was to be replaced where it is.
    """
    if order.start is not None and order.start.resolve() == order.out.resolve():
        raise RunError(f"{order.out} can't go on from itself", "Choose another folder with --out.")
    first = first_process(order.where)
    if first and not order.resume:
        refuse_taken(order.out, overwrite=order.overwrite)
    ready = _prepared(order, stage, say)
    recipe, data, run = ready.recipe, ready.data, RunFolder(order.out)
    if first and order.resume:
        _refuse_another(order, recipe, ready.facts)

    def opened() -> RunFolder:
        if first and not order.resume:
            RunFolder.create(
                order.out,
                to_yaml(recipe.config),
                ready.facts,
                images=_images_seen(order, data),
                overwrite=order.overwrite,
            )
        return run

    split = ready.facts["split"] or {"unseen": ()}
    with without(split["unseen"]):
        encoder = fit(recipe, ready.encoder, data, opened, order.where)
    if first:
        write_card(run, encoder)
    return run


def _images_seen(order: Order, data: TrainingSet) -> NDArray[np.int64]:
    """The hashes of a run's images and of those that the run it starts from saw."""
    before = [RunFolder.open(order.start).trained_images()] if order.start else []
    return np.concatenate([*before, *(pixel_hashes(data.pack, rows) for rows in data.rows.values())])


def first_process(where: Devices) -> bool:
    """Whether this is a run's only process, or the first of several, by what Fabric, torchrun or SLURM tell it.

    A run on one device is its own first process, whatever number the scheduler gave it among others.
    """
    return where.devices * where.nodes == 1 or all(
        os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    )


def untrained(order: Order, stage: Stage, say: Any = print) -> RunFolder:
    """The encoder that a run would start from, as a finished run that read nothing: what training has to beat.

    Raises:
        SslSbirError: as `train` does.
    """
    ready = _prepared(replace(order, labels=LabelBudget()), stage, say)
    before = RunFolder.open(order.start).provenance if order.start else {}
    classes = {key: list(before.get(key, ())) for key in ("trained_classes", "labelled_classes")}
    read = {"labels_used": False, "labels": None, "images": {"sketch": 0, "photo": 0}, **classes}
    facts = {**ready.facts, "recipe": "untrained", "stage": "none", **read}
    run = RunFolder.create(order.out, to_yaml(ready.recipe.config), facts, overwrite=True)
    save_encoder(ready.encoder, run.path / "model")
    write_card(run, ready.encoder)
    return run


def starting_point(order: Order, stage: Stage) -> tuple[Encoder, TrainingSet]:
    """The encoder that a run would start from, and the images and labels it would read.

    Raises:
        SslSbirError: as `train` does.
    """
    ready = _prepared(order, stage, lambda _: None)
    return ready.encoder, ready.data


@dataclass(frozen=True)
class _Prepared:
    """Everything a run needs before its first step, and what its provenance will say."""

    recipe: Recipe
    encoder: Encoder
    data: TrainingSet
    facts: dict[str, Any]


def _prepared(order: Order, stage: Stage, say: Any) -> _Prepared:
    recipe, origins = configured(order, stage)
    if stage == "pretraining" and not order.labels.whole:
        raise ConfigError("--labels: pretraining reads none", "Leave it out, or use ssl-sbir finetune.")
    manifest = opened(order)
    split = chosen_split(order.split, manifest, stage)
    if order.start and split:
        _refuse_taught(order.start, split, say)
    encoder = _start(order, recipe, origins)
    pack = prepare(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit, strict=order.strict)
    data = TrainingSet.of(manifest, pack, split.seen if split else None, labelled=stage == "finetuning")
    labels = replace(order.labels, seed=recipe.config.seed)
    data = labels.of(data)
    _introduce(recipe, encoder, data, pack, order, say)
    if not labels.whole:
        say(f"labels {_told(label_facts(labels, data))}")
    return _Prepared(recipe, encoder, data, _provenance(order, recipe, manifest, split, data, labels))


def opened(order: Order) -> Manifest:
    """The images that an order names."""
    manifest = open_data(order.data)
    return with_photos(manifest, open_data(order.photos)) if order.photos else manifest


def chosen_split(name: str | None, manifest: Manifest, stage: Stage) -> Split | None:
    """The split of that name cut down to the classes that are there; without a name, a hashed one.

    Pretraining without a named split takes every image, labelled or not, and needs no split.
    """
    if name is None:
        return Split.hashed(manifest.classes) if stage == "finetuning" else None
    return Split.named(name, manifest.classes)


def _refuse_taught(start: Path, split: Split, say: Any) -> None:
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


def _start(order: Order, recipe: Recipe, origins: Mapping[str, str]) -> Encoder:
    """The encoder to start from; of a run that is gone on with, the settings come to say what it is."""
    wanted = recipe.config.encoder
    if order.start is None:
        seed_everything(recipe.config.seed)  # an encoder without published weights starts at random
        encoder = load_encoder(wanted.name, size=wanted.size, pretrained=wanted.pretrained)
    else:
        run = RunFolder.open(order.start)
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
                    f"encoder.{key} = {asked} ({origins[f'encoder.{key}']}): {order.start} has {found}",
                    "Leave it out: with --from the encoder is that of the run.",
                )
        wanted = wanted.model_copy(update=there)
        recipe.config = recipe.config.model_copy(update={"encoder": wanted})
    if wanted.fit is not None:
        encoder = encoder.with_fit(wanted.fit)
    return separated(encoder) if wanted.towers == "separate" else encoder


def _told(labels: Mapping[str, Any]) -> str:
    counted = " · ".join(f"{count:,} {domain}" for domain, count in labels["count"].items())
    return f"{labels['amount']} of {labels['classes']} classes: {counted} labels"


def _introduce(
    recipe: Recipe, encoder: Encoder, data: TrainingSet, pack: Pack, order: Order, say: Any
) -> None:
    sketches, photos = (len(data.rows[d]) for d in sorted(data.rows))
    labels = f"{len(data.classes)} classes" if data.classes else "labels not used"
    say(f"photos {photos:,} · sketches {sketches:,} · {labels}")
    lost = data.manifest.lost
    if lost:
        say(f"left out {len(lost):,}: {'; '.join(lost[:3])}{' …' if len(lost) > 3 else ''}")
    if pack.broken:
        names = ", ".join(f"{b.key} ({b.reason})" for b in pack.broken[:3])
        say(f"{len(pack.broken)} unreadable images left out: {names}{' …' if len(pack.broken) > 3 else ''}")
    config, asked = recipe.config, recipe.config.encoder
    weights = f"of {order.start}" if order.start else "published" if asked.pretrained else "random"
    count = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    refuse_absent(order.where.accelerator, order.where.devices)
    device = device_of() if order.where.accelerator == "auto" else order.where.accelerator
    precision = precision_of(config.precision, order.where.accelerator, encoder)
    say(f"{recipe.name} · encoder {asked.name}, {count:.1f} M parameters, {weights} weights")
    say(f"{encoder.preprocess.size} px · {device}, {precision} · seed {config.seed}")


def _provenance(
    order: Order,
    recipe: Recipe,
    manifest: Manifest,
    split: Split | None,
    data: TrainingSet,
    labels: LabelBudget,
) -> dict[str, Any]:
    before = RunFolder.open(order.start).provenance if order.start else {}
    codes = np.unique(np.concatenate([manifest.label[rows] for rows in data.rows.values()]))
    seen = {manifest.classes[code] for code in codes if code >= 0}
    return {
        "stage": recipe.stage,
        "recipe": recipe.name,
        "command": sys.argv[1:],
        "data": order.data,
        "photos": order.photos,
        "manifest_sha256": manifest.sha256,
        "split": split and split.facts(),
        "trained_classes": sorted(seen.union(before.get("trained_classes", ()))),
        "labelled_classes": sorted({*data.classes, *before.get("labelled_classes", ())}),
        "labels_used": bool(data.classes),
        "labels": label_facts(labels, data) if data.classes else None,
        "images": {d.name.lower(): len(rows) for d, rows in data.rows.items()},
        "left_out": [b.key for b in data.pack.broken],
        "lost": list(manifest.lost),
        "rows_sha256": sha256_of(*(rows.tobytes() for rows in data.rows.values())),
        "files": {**named_files(recipe.config.model_dump(mode="json")), **_own_files(order)},
        "start": _beginning(order, recipe),
        "from": str(order.start) if order.start else None,
        "seed": recipe.config.seed,
        "versions": {"ssl-sbir": __version__, "python": platform.python_version(), **_versions()},
        "git": _git_commit(),
    }


def _own_files(order: Order) -> dict[str, str]:
    """Hashes of a recipe of the user's and of the weights that a run starts from."""
    found = {"recipe": Path(order.recipe)} if order.recipe.endswith(".py") else {}
    if order.start is not None:
        found["--from"] = order.start / "model" / "model.safetensors"
    return {what: file_sha256(file) for what, file in found.items()}


def _beginning(order: Order, recipe: Recipe) -> dict[str, Any]:
    """The encoder at the root of a chain of runs: what the frozen row of an evaluation shows."""
    if order.start is not None:
        return dict(RunFolder.open(order.start).provenance["start"])
    return recipe.config.encoder.model_dump()


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONED:
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


def _refuse_another(order: Order, recipe: Recipe, facts: Mapping[str, Any]) -> None:
    """Refuses to resume a run that is finished, or another one than is asked for."""
    run = RunFolder.open(order.out)
    if run.finished:
        raise RunError(f"{order.out} is finished: nothing to resume", "Start over with --overwrite.")
    made = run.provenance
    for key, found in _identity(made).items():
        if found != _identity(facts).get(key):
            raise RunError(
                f"{order.out} was made with another {key.replace('_', ' ')} ({found})",
                "Resume with the command that started it, or start over with --overwrite.",
            )
    if run.config != RecipeConfig.model_dump(recipe.config, mode="json"):
        raise RunError(f"{order.out} was made with other settings", f"They are in {order.out}/config.yaml.")


def _identity(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a run to be resumed rather than mixed with another."""
    split, labels = facts["split"] or {"sha256": None}, facts.get("labels") or {"sha256": None}
    shared = {key: facts[key] for key in ("recipe", "manifest_sha256", "start", "from")}
    readable = {"set of readable images": facts.get("rows_sha256")}
    files = {f"file of {key}": digest for key, digest in facts.get("files", {}).items()}
    return {**shared, "split": split["sha256"], "labels": labels["sha256"], **readable, **files}
