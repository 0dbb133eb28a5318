"""A training run from its request to its folder: what the commands `pretrain` and `finetune` do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_sbir.config import to_yaml
from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.join import add_photos_from
from ssl_sbir.data.label_budget import LabelBudget, label_budget_facts
from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.pixel_hashes import pixel_hashes
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.devices import check_accelerator, resolve_device
from ssl_sbir.encoders import Encoder, save_encoder
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.model_card import write_card
from ssl_sbir.precision import resolve_precision
from ssl_sbir.run import RunFolder
from ssl_sbir.semantics import forbid_unseen_classes
from ssl_sbir.training.loop import fit
from ssl_sbir.training.provenance import check_same_run, collect_provenance
from ssl_sbir.training.recipe import Recipe
from ssl_sbir.training.recipe_catalog import load_recipe
from ssl_sbir.training.settings import TrainingStage
from ssl_sbir.training.starting_run import StartingRun, load_start_encoder
from ssl_sbir.training.training_request import TrainingRequest as TrainingRequest
from ssl_sbir.training.training_request import check_request, resolve_settings
from ssl_sbir.training.training_request import is_first_process as is_first_process

PrintLine = Callable[[str], object]


def train(request: TrainingRequest, stage: TrainingStage, say: PrintLine = print) -> RunFolder:
    """Runs a recipe on a data set and writes a run folder.

    Args:
        request: what to do.
        stage: pretraining (labels are never read) or finetuning (labels of seen classes are).
        say: prints a line for people.

    Returns:
        The finished run.

    Raises:
        SslSbirError: data, settings, encoder or run folder are wrong. An error before the first step leaves no new
            folder behind, and a run that was to be replaced as it was.
    """
    first = is_first_process(request.device_config)
    if first:
        check_request(request)
    prepared, run = _prepare_run(request, stage, say), RunFolder(request.out)
    if first and request.resume:
        check_same_run(request.out, prepared.recipe.config, prepared.facts)

    def open_run() -> RunFolder:
        if first and not request.resume:
            prepared.create_folder(request)
        return run

    split = prepared.facts["split"] or {"unseen": ()}
    with forbid_unseen_classes(split["unseen"]):
        encoder = fit(prepared.recipe, prepared.encoder, prepared.data, open_run, request.device_config)
    if first:
        write_card(run, encoder)
    return run


def export_untrained(request: TrainingRequest, stage: TrainingStage, say: PrintLine = print) -> RunFolder:
    """The encoder that a run would start from, as a finished run without training: the baseline of a study.

    Raises:
        SslSbirError: as `train` does.
    """
    prepared = _prepare_run(replace(request, labels=LabelBudget()), stage, say)
    start = prepared.start
    classes = {
        key: sorted(start.class_names(key)) if start else []
        for key in ("trained_classes", "labelled_classes")
    }
    read = {"labels_used": False, "labels": None, "images": {"sketch": 0, "photo": 0}, **classes}
    facts = {**prepared.facts, "recipe": "untrained", "stage": "none", **read}
    run = RunFolder.create(request.out, to_yaml(prepared.recipe.config), facts, overwrite=True)
    save_encoder(prepared.encoder, run.path / "model")
    write_card(run, prepared.encoder)
    return run


def load_starting_point(request: TrainingRequest, stage: TrainingStage) -> tuple[Encoder, TrainingSet]:
    """The encoder that a run would start from, and the images and labels it would read.

    Raises:
        SslSbirError: as `train` does.
    """
    prepared = _prepare_run(request, stage, lambda _: None)
    return prepared.encoder, prepared.data


@dataclass(frozen=True)
class _PreparedRun:
    """Everything a run needs before its first step, and the facts for its provenance."""

    recipe: Recipe
    encoder: Encoder
    data: TrainingSet
    start: StartingRun | None
    facts: dict[str, Any]

    def create_folder(self, request: TrainingRequest) -> None:
        RunFolder.create(
            request.out,
            to_yaml(self.recipe.config),
            self.facts,
            images=self._hash_seen_images(),
            overwrite=request.overwrite,
        )

    def _hash_seen_images(self) -> NDArray[np.int64]:
        """The hashes of a run's images and of those that its starting run saw."""
        own = [pixel_hashes(self.data.pack, rows) for rows in self.data.rows.values()]
        return np.concatenate([*([self.start.images] if self.start else []), *own])


def _prepare_run(request: TrainingRequest, stage: TrainingStage, say: PrintLine) -> _PreparedRun:
    config, origins = resolve_settings(request, stage)
    if stage == "pretraining" and not request.labels.includes_all_labels:
        raise ConfigError("--labels: pretraining reads none", "Leave it out, or use ssl-sbir finetune.")
    manifest = open_requested_data(request)
    split = choose_split(request.split, manifest, stage)
    start = StartingRun.from_folder(request.start) if request.start else None
    if start:
        if split:
            _check_no_leaked_labels(start, split, say)
        encoder_config = start.resolve_encoder_config(config.encoder, origins)
        config = config.model_copy(update={"encoder": encoder_config})
    encoder = load_start_encoder(config.encoder, config.seed, start)
    kind = load_recipe(request.recipe)  # its settings class equals the one that was read without its code
    recipe = kind(kind.Config.model_validate(config.model_dump()))
    data = _read_training_set(request, stage, manifest, split, encoder)
    labels = replace(request.labels, seed=config.seed)
    data = labels.apply_to(data)
    for line in _summary_lines(request, recipe, encoder, data, labels):
        say(line)
    facts = collect_provenance(request, recipe, data, split, labels, start)
    return _PreparedRun(recipe, encoder, data, start, facts)


def open_requested_data(request: TrainingRequest) -> Manifest:
    """The images that a request names."""
    manifest = open_data(request.data)
    return add_photos_from(manifest, open_data(request.photos)) if request.photos else manifest


def choose_split(name: str | None, manifest: Manifest, stage: TrainingStage) -> Split | None:
    """The split of that name, limited to the classes of the data; without a name, a hashed one.

    Pretraining without a named split uses every image, labelled or not, and needs no split.
    """
    if name is None:
        return Split.from_class_hashes(manifest.classes) if stage == "finetuning" else None
    return Split.from_name(name, manifest.classes)


def _check_no_leaked_labels(start: StartingRun, split: Split, say: PrintLine) -> None:
    """Refuses a starting run that read labels of unseen classes; prints a note if it saw their images only."""
    labelled, seen = (
        sorted(start.class_names(key).intersection(split.unseen))
        for key in ("labelled_classes", "trained_classes")
    )
    if labelled:
        more = f" and {len(labelled) - 1} more" if len(labelled) > 1 else ""
        raise DataError(
            f"{start.path} was trained on labels of '{labelled[0]}'{more}, which the split {split.name} holds out",
            "Start from a run of the same split, or give the split that it was trained on.",
        )
    if seen:
        say(f"TRANSDUCTIVE: {start.path} saw unlabelled images of {len(seen)} classes that are unseen here")


def _read_training_set(
    request: TrainingRequest, stage: TrainingStage, manifest: Manifest, split: Split | None, encoder: Encoder
) -> TrainingSet:
    pack = prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit, strict=request.strict)
    seen = split.seen if split else None
    return TrainingSet.from_manifest(manifest, pack, seen, labelled=stage == "finetuning")


def _summary_lines(
    request: TrainingRequest, recipe: Recipe, encoder: Encoder, data: TrainingSet, labels: LabelBudget
) -> Iterator[str]:
    yield from _data_lines(data)
    yield from _model_lines(request, recipe, encoder)
    if not labels.includes_all_labels:
        facts = label_budget_facts(labels, data)
        counts = " · ".join(f"{count:,} {domain}" for domain, count in facts["count"].items())
        yield f"labels {facts['amount']} of {facts['classes']} classes: {counts} labels"


def _data_lines(data: TrainingSet) -> Iterator[str]:
    sketches, photos = (len(data.rows[d]) for d in sorted(data.rows))
    classes = f"{len(data.classes)} classes" if data.classes else "labels not used"
    yield f"photos {photos:,} · sketches {sketches:,} · {classes}"
    if lost := data.manifest.read_errors:
        yield f"left out {len(lost):,}: {'; '.join(lost[:3])}{' …' if len(lost) > 3 else ''}"
    if broken := data.pack.broken:
        names = ", ".join(f"{image.key} ({image.reason})" for image in broken[:3])
        yield f"{len(broken)} unreadable images left out: {names}{' …' if len(broken) > 3 else ''}"


def _model_lines(request: TrainingRequest, recipe: Recipe, encoder: Encoder) -> Iterator[str]:
    config, accelerator = recipe.config, request.device_config.accelerator
    published = "published" if config.encoder.pretrained else "random"
    weights = f"of {request.start}" if request.start else published
    count = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    check_accelerator(accelerator, request.device_config.devices)
    device = resolve_device() if accelerator == "auto" else accelerator
    precision = resolve_precision(config.precision, accelerator, encoder)
    yield f"{recipe.name} · encoder {config.encoder.name}, {count:.1f} M parameters, {weights} weights"
    yield f"{encoder.preprocess.size} px · {device}, {precision} · seed {config.seed}"
