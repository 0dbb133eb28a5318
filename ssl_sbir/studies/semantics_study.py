"""The semantics study: which source of class similarity improves SAKE, and by how much."""

from dataclasses import dataclass

from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.choices import Tilt
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics import load_semantics
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_request import Study

NO_SOURCE = "none"
TILT_KINDS: tuple[Tilt, ...] = ("published", "calibrated")


@dataclass(frozen=True)
class TiltStrength:
    """How far similarity tilts the teacher: the kind of tilt and its λ."""

    tilt: Tilt
    similarity_weight: float

    @classmethod
    def from_text(cls, text: str) -> "TiltStrength":
        """Such as "published:.3" or "calibrated:.5".

        Raises:
            ConfigError: another form, another tilt, or a negative number.
        """
        tilt, _, number = text.partition(":")
        if tilt not in TILT_KINDS:
            raise ConfigError(
                f"--strengths {text}: unknown tilt.{did_you_mean(tilt, TILT_KINDS)}", _STRENGTH_HINT
            )
        try:
            weight = float(number)
        except ValueError as error:
            raise ConfigError(f"--strengths {text}: '{number}' is not a number", _STRENGTH_HINT) from error
        if weight < 0 or (tilt == "calibrated" and weight >= 1):
            raise ConfigError(f"--strengths {text}: {weight:g} is out of range", _STRENGTH_HINT)
        return cls("published" if tilt == "published" else "calibrated", weight)

    def __str__(self) -> str:
        return f"{self.tilt}, λ {self.similarity_weight:g}"


_STRENGTH_HINT = "Write published:.3 (0 or more) or calibrated:.5 (0 to below 1)."


@dataclass(frozen=True, kw_only=True)
class SemanticsStudy(Study):
    """The settings of a semantics study; a cell for each source, strength and seed, and for `none` one per seed.

    The recipe is sake, or one with the same settings.

    Attributes:
        sources: specs of `load_semantics`; `{seed}` stands for the run's seed ("shuffled:{seed}:wordnet").
        strengths: tilts and their λ.
    """

    sources: tuple[str, ...]
    strengths: tuple[TiltStrength, ...]

    def __post_init__(self) -> None:
        """Checks the settings before the first run.

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
        """The cells, by strength and then by seed, so that an interrupted study can be evaluated."""
        return [
            self._build_source_cell(source, strength, seed)
            for strength in self.strengths
            for seed in range(self.seeds)
            for source in (NO_SOURCE, *(source for source in self.sources if source != NO_SOURCE))
            if source != NO_SOURCE or strength == self.strengths[0]
        ]

    def _build_source_cell(self, source: str, strength: TiltStrength, seed: int) -> StudyCell:
        # The recipe's own setting for no semantics, which resolves no names.
        spec = "null" if source == NO_SOURCE else source.replace("{seed}", str(seed))
        tilted = (
            ()
            if source == NO_SOURCE
            else (f"tilt={strength.tilt}", f"similarity_weight={strength.similarity_weight}")
        )
        axes = {"source": source, "strength": "–" if source == NO_SOURCE else str(strength)}
        return self.build_cell(seed, f"semantics={spec}", *tilted, axes=axes)
