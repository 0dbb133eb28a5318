"""The label-efficiency study: how much accuracy a label buys, from which start, and chosen how."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ssl_sbir.data.labels import LabelBudget
from ssl_sbir.errors import ConfigError
from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.choice import choice
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.table import Table

STRATIFIED = "stratified"
NOTHING = ("0", "0%")


@dataclass(frozen=True)
class LabelStudy:
    """What to find out; every combination is a cell for each seed.

    Attributes:
        data: data spec.
        recipe: what fine-tunes.
        split: a published split, a JSON file, or None for a hashed one.
        amounts: of labels: 0 for the start itself, shares such as "5%", or such as "5-per-class".
        starts: imagenet, scratch or run:PATH; the first is what the others are compared with, unless imagenet is
            among them.
        domains: whose labels: both, sketch, photo.
        classes: numbers of labelled classes, or "all".
        choices: stratified (as many of each class, which only labels can tell), random, k-centre, uncertainty or
            cluster-balanced.
        seeds: how many: 0, 1, ….
        preset: named settings of the recipe.
        settings: `key=value` texts.
        protocol: of the evaluation.
        metric: of the protocol; what the report draws.
        centre: of the evaluation: none or train.
    """

    data: str
    recipe: str = "sake"
    split: str | None = None
    amounts: tuple[str, ...] = ("0", "1%", "5%", "10%", "25%", "100%")
    starts: tuple[str, ...] = ("scratch", "imagenet")
    domains: tuple[str, ...] = ("both",)
    classes: tuple[str, ...] = ("all",)
    choices: tuple[str, ...] = (STRATIFIED,)
    seeds: int = 3
    preset: str | None = None
    settings: tuple[str, ...] = ()
    protocol: str = "standard"
    metric: str = "mAP@all"
    centre: str = "none"

    def __post_init__(self) -> None:
        """Refuses what can't be studied.

        Raises:
            ConfigError: no seed, no start, no amount, or an unknown way to choose.
        """
        if self.seeds < 1:
            raise ConfigError(f"--seeds {self.seeds}", "Give 1 or more.")
        for option in ("starts", "amounts", "domains", "classes", "choices"):
            if not getattr(self, option):
                raise ConfigError(f"nothing to study: no {option}", "Name at least one.")
        active = [name for name in self.choices if name != STRATIFIED]
        for name in active:
            choice(name)
        if active and self.classes != ("all",):
            raise ConfigError(
                f"--choices {', '.join(active)} with --classes",
                "Who chooses images doesn't know their classes.",
            )
        if len(set(self.amounts)) == 1 and set(self.amounts) <= set(NOTHING):
            raise ConfigError("no amount of labels to study", "Add one: --fractions 0,10%,100%.")

    @property
    def reference(self) -> str:
        """The start that the others are compared with."""
        return "imagenet" if "imagenet" in self.starts else self.starts[0]

    @property
    def amounts_of_labels(self) -> tuple[str, ...]:
        """The amounts without the start itself."""
        return tuple(
            "all" if amount == "100%" else amount for amount in self.amounts if amount not in NOTHING
        )

    @property
    def column(self) -> str:
        """What the report draws, by its name in the table."""
        return f"{self.protocol} {self.metric}"


def study_labels(asked: LabelStudy, out: Path, jobs: int = 1, *, retry: bool = False) -> Table:
    """The tidy table of a label-efficiency study; one row a run, failed ones with their cause.

    Args:
        asked: what to find out.
        out: folder of the study; called again, it goes on there.
        jobs: how many runs at a time.
        retry: make runs anew that are recorded as failed.

    Raises:
        SslSbirError: settings, data or split are wrong, or another process is at this study.
    """
    if Cell(asked.recipe, asked.data).stage != "finetuning":
        raise ConfigError(
            f"'{asked.recipe}' reads no labels", "Name a fine-tuning recipe (ssl-sbir recipes list)."
        )
    return run_grid(cells(asked), out, jobs, retry=retry)


def cells(asked: LabelStudy) -> list[Cell]:
    """The cells of a study; nothing is trained for 0 labels, where all seeds of a fixed start are the same cell."""
    return [cell for start in asked.starts for seed in range(asked.seeds) for cell in _of(asked, start, seed)]


def _of(asked: LabelStudy, start: str, seed: int) -> Iterator[Cell]:
    whole = Cell(
        recipe=asked.recipe,
        data=asked.data,
        start=start,
        seed=seed,
        split=asked.split,
        preset=asked.preset,
        settings=asked.settings,
        protocols=(asked.protocol,),
        centre=asked.centre,
    )
    fixed = start != "scratch" and "{seed}" not in start
    if set(NOTHING) & set(asked.amounts) and not (fixed and seed):
        yield replace(whole, trained=False)
    for amount, domains, classes in itertools.product(asked.amounts_of_labels, asked.domains, asked.classes):
        labels = LabelBudget(amount, domains, None if classes == "all" else classes)
        if amount == "all":  # nothing to choose
            yield replace(whole, labels=labels)
            continue
        for name in asked.choices:
            yield replace(whole, labels=labels, choice=None if name == STRATIFIED else name)
