"""The study of semantics: which source of class similarity helps SAKE, how strongly, and whether any does."""

from dataclasses import dataclass

from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.distillation import Tilt
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics import load_semantics
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_request import Study

NO_SOURCE = "none"
TILT_KINDS: tuple[Tilt, ...] = ("published", "calibrated")


@dataclass(frozen=True)
class TiltStrength:
    """How far similarity tilts the teacher: one way, and its λ."""

    tilt: Tilt
    nearness: float

    @classmethod
    def from_text(cls, text: str) -> "TiltStrength":
        """Such as "published:.3" or "calibrated:.5".

        Raises:
            ConfigError: another form, another tilt, or a negative number.
        """
        tilt, _, number = text.partition(":")
        if tilt not in TILT_KINDS:
            raise ConfigError(
                f"--strengths {text}: no such tilt.{did_you_mean(tilt, TILT_KINDS)}", _STRENGTH_HINT
            )
        try:
            nearness = float(number)
        except ValueError as error:
            raise ConfigError(f"--strengths {text}: '{number}' is no number", _STRENGTH_HINT) from error
        if nearness < 0 or (tilt == "calibrated" and nearness >= 1):
            raise ConfigError(f"--strengths {text}: {nearness:g} is out of range", _STRENGTH_HINT)
        return cls("published" if tilt == "published" else "calibrated", nearness)

    def __str__(self) -> str:
        return f"{self.tilt}, λ {self.nearness:g}"


_STRENGTH_HINT = "Write published:.3 (0 or more) or calibrated:.5 (0 to below 1)."


@dataclass(frozen=True, kw_only=True)
class SemanticsStudy(Study):
    """What to find out; every source at every strength is a cell for each seed, and `none` one for each seed.

    The recipe is sake, or one with the same settings.

    Attributes:
        sources: as `load_semantics` takes them; `{seed}` in one becomes the run's seed ("shuffled:{seed}:wordnet").
        strengths: tilts and their λ.
    """

    sources: tuple[str, ...]
    strengths: tuple[TiltStrength, ...]

    def __post_init__(self) -> None:
        """Refuses what can't be studied, before the first run.

        Raises:
            SslSbirError: no seed, source or strength, or a source that can't be loaded.
        """
        super().__post_init__()
        if not self.strengths or not [source for source in self.sources if source != NO_SOURCE]:
            raise ConfigError(
                "nothing to study: no source or no strength", "Add one: --sources wordnet,glove."
            )
        for source in self.sources:
            load_semantics(source.replace("{seed}", "0"))

    def build_cells(self) -> list[StudyCell]:
        """Those of a strength together, seed by seed, so that a study that is cut short can be compared."""
        return [
            self._build_source_cell(source, strength, seed)
            for strength in self.strengths
            for seed in range(self.seeds)
            for source in (NO_SOURCE, *(source for source in self.sources if source != NO_SOURCE))
            if source != NO_SOURCE or strength == self.strengths[0]
        ]

    def _build_source_cell(self, source: str, strength: TiltStrength, seed: int) -> StudyCell:
        # Without a source nothing is tilted: the recipe's own way to say so, which costs no look at any name.
        spec = "null" if source == NO_SOURCE else source.replace("{seed}", str(seed))
        tilted = (
            () if source == NO_SOURCE else (f"tilt={strength.tilt}", f"similarity_weight={strength.nearness}")
        )
        axes = {"source": source, "strength": "–" if source == NO_SOURCE else str(strength)}
        return self.build_cell(seed, f"semantics={spec}", *tilted, axes=axes)
