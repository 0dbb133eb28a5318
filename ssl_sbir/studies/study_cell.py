"""One run of a study: its settings, its hash, and the command that repeats it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ssl_sbir.config import hash_named_files, to_yaml
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.data.readers import open_data
from ssl_sbir.errors import ConfigError
from ssl_sbir.files import sha256_of
from ssl_sbir.training.recipe_catalog import recipe_info
from ssl_sbir.training.settings import TrainingStage
from ssl_sbir.training.training_request import TrainingRequest, resolve_settings

IMAGENET_START, SCRATCH_START, RUN_START_PREFIX = "imagenet", "scratch", "run:"


@dataclass(frozen=True)
class StudyCell:
    """One run and its evaluation.

    Attributes:
        recipe: a name or a `.py` file, of either stage.
        data: data spec, such as "folder:pets".
        start: `imagenet` (the encoder's published weights), `scratch` (random ones) or `run:PATH`; a path with
            `{seed}` in it is another run for each seed.
        labels: which labels of the seen classes training reads.
        choice: the strategy that selects images to label (`label_choice`); None leaves it to `labels`.
        seed: of the run, its labels and its random weights.
        split: a published split, a JSON file, or None.
        preset: a named set of settings.
        settings: `key=value` texts.
        transductive: train on all images, including those of unseen classes, without labels; pretraining only.
        trained: False evaluates the encoder that training would start from.
        protocols: of the evaluation.
        centre: of the evaluation: none or train.
        axes: further columns of the table; they don't change the run.
    """

    recipe: str
    data: str
    start: str = IMAGENET_START
    labels: LabelBudget = field(default_factory=LabelBudget)
    choice: str | None = None
    seed: int = 0
    split: str | None = None
    preset: str | None = None
    settings: tuple[str, ...] = ()
    transductive: bool = False
    trained: bool = True
    protocols: tuple[str, ...] = ("standard",)
    centre: str = "none"
    axes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks start and images.

        Raises:
            ConfigError: the start is none of imagenet, scratch and run:PATH, or a fine-tuning recipe is transductive.
        """
        if self.transductive and self.stage != "pretraining":
            raise ConfigError(
                f"{self.recipe} reads labels, so it can't be trained on unseen classes",
                "Use `transductive` with pretraining recipes only.",
            )
        if self.start not in (IMAGENET_START, SCRATCH_START) and not self.start.startswith(RUN_START_PREFIX):
            raise ConfigError(f"unknown start '{self.start}'", "Give imagenet, scratch or run:PATH.")

    @property
    def stage(self) -> TrainingStage:
        """The recipe's stage."""
        return recipe_info(self.recipe).stage

    @property
    def start_run(self) -> Path | None:
        """The run folder that it starts from, if any."""
        if not self.start.startswith(RUN_START_PREFIX):
            return None
        return Path(self.start.removeprefix(RUN_START_PREFIX).replace("{seed}", str(self.seed)))

    def label_budget(self, out: Path) -> LabelBudget:
        """The labels that it reads; with a strategy, by the order in a file that the study's runs share."""
        if self.choice is None:
            return self.labels
        key = replace(self, labels=LabelBudget(), axes={}).sha256()[:12]
        return replace(self.labels, order=str(out.parents[1] / "orders" / f"{self.choice}-{key}.txt"))

    def training_request(self, out: Path, *, resume: bool = False) -> TrainingRequest:
        """The request of the training command."""
        random_weights = ("encoder.pretrained=false",) if self.start == SCRATCH_START else ()
        return TrainingRequest(
            recipe=self.recipe,
            data=self.data,
            out=out,
            split=None if self.transductive else self.split,
            start=self.start_run,
            preset=self.preset,
            settings=(*self.settings, *random_weights, f"seed={self.seed}"),
            labels=self.label_budget(out),
            resume=resume,
        )

    def command_arguments(self, out: Path) -> list[str]:
        """The arguments of `ssl-sbir` that repeat the run; without training, those of `evaluate`."""
        request = self.training_request(out)
        if not self.trained:
            return ["evaluate", str(out), "--data", self.data]
        verb = "finetune" if self.stage == "finetuning" else "pretrain"
        options = {
            "--data": self.data,
            "--split": request.split,
            "--from": request.start,
            "--preset": self.preset,
            "--out": out,
        }
        if not request.labels.includes_all_labels:
            options |= {"--labels": request.labels.amount, "--label-domains": request.labels.domains}
            options |= {"--label-classes": request.labels.classes, "--label-order": request.labels.order}
        arguments = [
            part for name, value in options.items() if value is not None for part in (name, str(value))
        ]
        return [
            verb,
            self.recipe,
            *arguments,
            *(part for text in request.settings for part in ("--set", text)),
        ]

    def sha256(self, data_sha256: str | None = None) -> str:
        """The hash of everything that determines the result: settings, data, split, labels and starting weights.

        Args:
            data_sha256: the manifest's hash, if it is known.

        Raises:
            ConfigError, DataError: recipe, settings or data are wrong.
        """
        config, _ = resolve_settings(replace(self, choice=None).training_request(Path()), self.stage)
        file = Path(self.recipe).read_text("utf-8") if self.recipe.endswith(".py") else ""
        split = Path(self.split) if self.split and Path(self.split).is_file() else None
        labels = (self.labels.amount, self.labels.domains, self.labels.classes or "", self.choice or "")
        return sha256_of(
            recipe_info(self.recipe).name + file,
            to_yaml(config),
            data_sha256 or open_data(self.data).sha256,
            split.read_text("utf-8") if split else self.split or "",
            self.start + _start_weights_sha256(self.start_run),
            *(labels if self.trained else ()),
            json.dumps([self.trained, self.protocols, self.centre, *(["transductive"] * self.transductive)]),
            *chain.from_iterable(sorted(hash_named_files(config.model_dump(mode="json")).items())),
        )

    def facts(self) -> dict[str, Any]:
        """JSON-able facts, the input of `from_facts`."""
        return {**vars(self), "labels": vars(self.labels), "axes": dict(self.axes)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "StudyCell":
        """The cell of these `facts`."""
        tuples = {key: tuple(facts[key]) for key in ("settings", "protocols")}
        return cls(**{**facts, **tuples, "labels": LabelBudget(**facts["labels"])})


def _start_weights_sha256(run: Path | None) -> str:
    """The hash of a run's exported weights; empty if there are none."""
    file = run / "model" / "model.safetensors" if run else None
    return sha256_of(file.read_bytes()) if file and file.is_file() else ""
