"""What all studies ask for, and how one is run."""

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
    """What to find out by a grid of runs.

    Attributes:
        data: data spec.
        recipe: what fine-tunes.
        split: a published split, a JSON file, or None for a hashed one.
        seeds: how many: 0, 1, ….
        preset: named settings of the recipe.
        settings: `key=value` texts.
        protocol: of the evaluation.
        metric: of the protocol; what the report is about.
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
        """Refuses what can't be studied, before the first run.

        Raises:
            ConfigError: there is no seed.
        """
        if self.seeds < 1:
            raise ConfigError(f"--seeds {self.seeds}", "Give 1 or more; 3 at least for a verdict.")

    @property
    def metric_column(self) -> str:
        """What the report is about, by its name in the table."""
        return f"{self.protocol} {self.metric}"

    @abstractmethod
    def build_cells(self) -> list[StudyCell]:
        """The runs it is made of."""

    def build_cell(self, seed: int, *settings: str, **more: Any) -> StudyCell:
        """A run of its recipe; `photo_manifest` as `Cell` takes it."""
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
    """The tidy table of a study; one row a run, failed ones with their cause.

    Args:
        study: what to find out.
        out: folder of the study; called again, it goes on there.
        jobs: how many runs at a time.
        retry: make runs anew that are recorded as failed.

    Raises:
        SslSbirError: settings, data or split are wrong, or another process is at this study.
    """
    return run_grid(study.build_cells(), out, jobs, retry=retry)
