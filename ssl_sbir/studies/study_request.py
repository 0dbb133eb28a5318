"""The settings that all studies share, and running a study."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_sbir.errors import ConfigError
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_table import StudyTable


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """A study: a grid of runs with one recipe.

    Attributes:
        data: data spec.
        recipe: of the runs.
        split: a published split, a JSON file, or None for a hashed one.
        seeds: number of seeds: 0, 1, ….
        preset: named settings of the recipe.
        settings: `key=value` texts.
        protocol: of the evaluation.
        metric: of the protocol, for the report.
        centre: of the evaluation: none or train.
    """

    data: str = field(kw_only=False)
    recipe: str = "sake"
    split: str | None = None
    seeds: int = 3
    preset: str | None = None
    settings: tuple[str, ...] = ()
    protocol: str = "standard"
    metric: str = "mAP@all"
    centre: str = "none"

    def __post_init__(self) -> None:
        """Checks the settings before the first run.

        Raises:
            ConfigError: there is no seed.
        """
        if self.seeds < 1:
            raise ConfigError(f"--seeds {self.seeds}", "Give 1 or more; 3 at least for a verdict.")

    @property
    def metric_column(self) -> str:
        """The table's column of the reported metric."""
        return f"{self.protocol} {self.metric}"

    @abstractmethod
    def build_cells(self) -> list[StudyCell]:
        """The runs of the study."""

    def build_cell(self, seed: int, *settings: str, **more: Any) -> StudyCell:
        """A run of its recipe; `more` are arguments of `StudyCell`."""
        return StudyCell(
            self.recipe,
            self.data,
            seed=seed,
            split=self.split,
            preset=self.preset,
            settings=(*self.settings, *settings),
            protocols=(self.protocol,),
            centre=self.centre,
            **more,
        )


def run_study(study: Study, out: Path, jobs: int = 1, *, retry: bool = False) -> StudyTable:
    """Runs a study, and returns its table, one row per run; failed runs have a cause.

    Args:
        study: the study.
        out: its folder; an interrupted study in it is resumed.
        jobs: number of runs at a time.
        retry: repeat runs that are recorded as failed.

    Raises:
        SslSbirError: settings, data or split are wrong, or another process is running this study.
    """
    return run_grid(study.build_cells(), out, jobs, retry=retry)
