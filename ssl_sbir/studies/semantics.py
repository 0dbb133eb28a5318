"""The study of semantics: which source of class similarity helps SAKE, how strongly, and whether any does."""

from dataclasses import dataclass
from pathlib import Path

from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.preservation import Tilt
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics import load_semantics
from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.table import Table

NONE = "none"
TILTS: tuple[Tilt, ...] = ("published", "calibrated")


@dataclass(frozen=True)
class Strength:
    """How far similarity tilts the teacher: one way, and its λ."""

    tilt: Tilt
    nearness: float

    @classmethod
    def of(cls, text: str) -> "Strength":
        """Such as "published:.3" or "calibrated:.5".

        Raises:
            ConfigError: another form, another tilt, or a negative number.
        """
        tilt, _, number = text.partition(":")
        if tilt not in TILTS:
            raise ConfigError(f"--strengths {text}: no such tilt.{did_you_mean(tilt, TILTS)}", _STRENGTH)
        try:
            nearness = float(number)
        except ValueError as error:
            raise ConfigError(f"--strengths {text}: '{number}' is no number", _STRENGTH) from error
        if nearness < 0 or (tilt == "calibrated" and nearness >= 1):
            raise ConfigError(f"--strengths {text}: {nearness:g} is out of range", _STRENGTH)
        return cls("published" if tilt == "published" else "calibrated", nearness)

    def __str__(self) -> str:
        return f"{self.tilt}, λ {self.nearness:g}"


_STRENGTH = "Write published:.3 (0 or more) or calibrated:.5 (0 to below 1)."


@dataclass(frozen=True)
class SemanticsStudy:
    """What to find out; every source at every strength is a cell for each seed, and `none` one for each seed.

    Attributes:
        data: data spec.
        sources: as `load_semantics` takes them; `{seed}` in one becomes the run's seed ("shuffled:{seed}:wordnet").
        strengths: tilts and their λ.
        recipe: sake, or one with the same settings.
        split: a published split, a JSON file, or None for a hashed one.
        seeds: how many: 0, 1, ….
        preset: named settings of the recipe.
        settings: `key=value` texts.
        protocol: of the evaluation.
        metric: of the protocol.
        centre: of the evaluation: none or train.
    """

    data: str
    sources: tuple[str, ...]
    strengths: tuple[Strength, ...]
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
            SslSbirError: no seed, source or strength, or a source that can't be loaded.
        """
        if self.seeds < 1:
            raise ConfigError(f"--seeds {self.seeds}", "Give 1 or more; 3 at least for a verdict.")
        if not self.strengths or not [source for source in self.sources if source != NONE]:
            raise ConfigError(
                "nothing to study: no source or no strength", "Add one: --sources wordnet,glove."
            )
        for source in self.sources:
            load_semantics(source.replace("{seed}", "0"))

    @property
    def column(self) -> str:
        """What the report is about, by its name in the table."""
        return f"{self.protocol} {self.metric}"


def study_semantics(asked: SemanticsStudy, out: Path, jobs: int = 1, *, retry: bool = False) -> Table:
    """The tidy table of a study of semantics; one row a run, failed ones with their cause.

    Args:
        asked: what to find out.
        out: folder of the study; called again, it goes on there.
        jobs: how many runs at a time.
        retry: make runs anew that are recorded as failed.

    Raises:
        SslSbirError: settings, data or split are wrong, or another process is at this study.
    """
    return run_grid(cells(asked), out, jobs, retry=retry)


def cells(asked: SemanticsStudy) -> list[Cell]:
    """The cells: those of a strength together, seed by seed, so that a study that is cut short can be compared."""
    return [
        _cell(asked, source, strength, seed)
        for strength in asked.strengths
        for seed in range(asked.seeds)
        for source in (NONE, *(source for source in asked.sources if source != NONE))
        if source != NONE or strength == asked.strengths[0]
    ]


def _cell(asked: SemanticsStudy, source: str, strength: Strength, seed: int) -> Cell:
    # Without a source nothing is tilted: the recipe's own way to say so, which costs no look at any name.
    spec = "null" if source == NONE else source.replace("{seed}", str(seed))
    tilted = () if source == NONE else (f"tilt={strength.tilt}", f"nearness={strength.nearness}")
    return Cell(
        recipe=asked.recipe,
        data=asked.data,
        seed=seed,
        split=asked.split,
        preset=asked.preset,
        settings=(*asked.settings, f"semantics={spec}", *tilted),
        protocols=(asked.protocol,),
        centre=asked.centre,
        axes={"source": source, "strength": "–" if source == NONE else str(strength)},
    )
