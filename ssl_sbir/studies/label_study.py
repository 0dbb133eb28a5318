"""The label-efficiency study: accuracy by number of labels, starting point and selection strategy."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.errors import ConfigError
from ssl_sbir.studies.label_choice import find_selection_strategy
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_request import Study

STRATIFIED_CHOICE = "stratified"
NO_LABEL_AMOUNTS = ("0", "0%")


@dataclass(frozen=True, kw_only=True)
class LabelStudy(Study):
    """The settings of a label study; every combination is a cell for each seed.

    Attributes:
        amounts: of labels: 0 for the start itself, shares such as "5%", or such as "5-per-class".
        starts: imagenet, scratch or run:PATH; the others are compared with imagenet, or with the first without it.
        domains: whose labels: both, sketch, photo.
        classes: numbers of labelled classes, or "all".
        choices: stratified (equally many of each class, which needs labels), random, k-centre, uncertainty or
            cluster-balanced.
    """

    amounts: tuple[str, ...] = ("0", "1%", "5%", "10%", "25%", "100%")
    starts: tuple[str, ...] = ("scratch", "imagenet")
    domains: tuple[str, ...] = ("both",)
    classes: tuple[str, ...] = ("all",)
    choices: tuple[str, ...] = (STRATIFIED_CHOICE,)

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ConfigError: no seed, start or amount, an unknown selection strategy, or a recipe that reads no labels.
        """
        super().__post_init__()
        options = {"amounts": "fractions", "choices": "choose"}  # where the option's name is another
        for field in ("starts", "amounts", "domains", "classes", "choices"):
            if not getattr(self, field):
                raise ConfigError(f"--{options.get(field, field)}: nothing to study", "Name at least one.")
        active = [name for name in self.choices if name != STRATIFIED_CHOICE]
        for name in active:
            find_selection_strategy(name)
        if active and self.classes != ("all",):
            raise ConfigError(
                f"--choose {', '.join(active)} with --classes",
                "A selection strategy doesn't know the images' classes.",
            )
        if len(set(self.amounts)) == 1 and set(self.amounts) <= set(NO_LABEL_AMOUNTS):
            raise ConfigError("no amount of labels to study", "Add one: --fractions 0,10%,100%.")

        if StudyCell(self.recipe, self.data).stage != "finetuning":
            raise ConfigError(
                f"'{self.recipe}' reads no labels", "Name a fine-tuning recipe (ssl-sbir recipes list)."
            )

    @property
    def reference_start(self) -> str:
        """The start with which the others are compared."""
        return "imagenet" if "imagenet" in self.starts else self.starts[0]

    @property
    def amounts_of_labels(self) -> tuple[str, ...]:
        """The amounts without the start itself."""
        return tuple(
            "all" if amount == "100%" else amount for amount in self.amounts if amount not in NO_LABEL_AMOUNTS
        )

    def build_cells(self) -> list[StudyCell]:
        """One cell per combination and seed; with 0 labels nothing is trained, so a fixed start has one cell for all seeds."""
        return [
            cell
            for start in self.starts
            for seed in range(self.seeds)
            for cell in self._cells_of_start(start, seed)
        ]

    def _cells_of_start(self, start: str, seed: int) -> Iterator[StudyCell]:
        whole = self.build_cell(seed, start=start)
        fixed = start != "scratch" and "{seed}" not in start
        if set(NO_LABEL_AMOUNTS) & set(self.amounts) and not (fixed and seed):
            yield replace(whole, trained=False)
        for amount, domains, classes in itertools.product(self.amounts_of_labels, self.domains, self.classes):
            labels = LabelBudget(amount, domains, None if classes == "all" else classes)
            if amount == "all":  # nothing to choose
                yield replace(whole, labels=labels)
                continue
            for name in self.choices:
                yield replace(whole, labels=labels, choice=None if name == STRATIFIED_CHOICE else name)
