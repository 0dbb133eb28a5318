"""The study of semantics: which source of class similarity helps SAKE, how strongly, and whether any does."""

from dataclasses import dataclass

from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.preservation import Tilt
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics import load_semantics
from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.study import Study

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


@dataclass(frozen=True, kw_only=True)
class SemanticsStudy(Study):
    """What to find out; every source at every strength is a cell for each seed, and `none` one for each seed.

    The recipe is sake, or one with the same settings.

    Attributes:
        sources: as `load_semantics` takes them; `{seed}` in one becomes the run's seed ("shuffled:{seed}:wordnet").
        strengths: tilts and their λ.
    """

    sources: tuple[str, ...]
    strengths: tuple[Strength, ...]

    def __post_init__(self) -> None:
        """Refuses what can't be studied, before the first run.

        Raises:
            SslSbirError: no seed, source or strength, or a source that can't be loaded.
        """
        super().__post_init__()
        if not self.strengths or not [source for source in self.sources if source != NONE]:
            raise ConfigError(
                "nothing to study: no source or no strength", "Add one: --sources wordnet,glove."
            )
        for source in self.sources:
            load_semantics(source.replace("{seed}", "0"))

    def cells(self) -> list[Cell]:
        """Those of a strength together, seed by seed, so that a study that is cut short can be compared."""
        return [
            self._of(source, strength, seed)
            for strength in self.strengths
            for seed in range(self.seeds)
            for source in (NONE, *(source for source in self.sources if source != NONE))
            if source != NONE or strength == self.strengths[0]
        ]

    def _of(self, source: str, strength: Strength, seed: int) -> Cell:
        # Without a source nothing is tilted: the recipe's own way to say so, which costs no look at any name.
        spec = "null" if source == NONE else source.replace("{seed}", str(seed))
        tilted = () if source == NONE else (f"tilt={strength.tilt}", f"nearness={strength.nearness}")
        axes = {"source": source, "strength": "–" if source == NONE else str(strength)}
        return self.cell(seed, f"semantics={spec}", *tilted, axes=axes)
