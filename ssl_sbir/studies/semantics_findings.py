"""What a study of semantics found: each source with its interval, against none, a shuffled one and WordNet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare import Difference, Scored, compare, holm, scored, taking_part
from ssl_sbir.studies.curves import Resamples, middle
from ssl_sbir.studies.semantics import NONE, SemanticsStudy
from ssl_sbir.studies.table import Table

# SAKE with ConceptNet less SAKE with WordNet, one run each: what the fifth prototype reported (.568 and .547).
REPORTED = 0.021
SAME = "–"


@dataclass(frozen=True)
class Arm:
    """One source at one strength; `strength` is a dash for `none`.

    Attributes:
        values: of each seed's run and each sketch; 0 where there is no run.
        there: which seeds have a run.
    """

    source: str
    strength: str
    values: Float[Tensor, "s q"]
    there: Bool[Tensor, " s"]

    @property
    def kind(self) -> str:
        """The source without its file: conceptnet, shuffled, …"""
        return self.source.partition(":")[0]

    @property
    def name(self) -> str:
        """Source and strength, in words; of a file the name alone."""
        head, colon, rest = self.source.partition(":")
        short = f"{head}{colon}{Path(rest).name if '/' in rest else rest}"
        return short if self.strength == SAME else f"{short} · {self.strength}"


@dataclass(frozen=True)
class Contrast:
    """One arm less another, over the seeds that both have.

    Attributes:
        low: start of the 95 % interval, seeds and sketches resampled together.
        high: its end.
        by_seed: the difference of each seed.
        test: over sketches and over classes, each sketch with its mean over seeds; corrected for all contrasts.
    """

    less: Arm
    arm: Arm
    low: float
    high: float
    by_seed: tuple[float, ...]
    test: Difference

    @property
    def difference(self) -> float:
        """The mean over seeds and sketches."""
        return self.test.difference

    @property
    def decided(self) -> bool:
        """Whether interval and test over classes agree that there is a difference."""
        return (self.low > 0 or self.high < 0) and self.test.p_classes < 0.05


class SemanticsFindings:
    """Everything the report of a study of semantics says.

    Args:
        asked: what was to be found out.
        table: what `run_study` returned.
        evaluations: of the runs that have a result, by run; read from their folders by default.

    Raises:
        EvaluationError: no run has a result, or the metric isn't among the results.
    """

    def __init__(
        self, asked: SemanticsStudy, table: Table, evaluations: Mapping[Path, Scored] | None = None
    ) -> None:
        self.asked, self.table = asked, table
        found = evaluations or {row.run: scored(row.run) for row in table.rows if not row.failed}
        if not found:
            causes = "; ".join(sorted({row.cause for row in table.rows})[:3])
            raise EvaluationError(f"no run of the study has a result: {causes}", "See its logs/.")
        self.scored = next(iter(found.values()))
        if asked.column not in self.scored.values:
            raise EvaluationError(
                f"no '{asked.column}' in {self.scored.name}",
                f"It has: {', '.join(sorted(self.scored.values))}.",
            )
        found = taking_part(found, asked.column)
        self.scored = next(iter(found.values()))
        self.values = {run: one.values[asked.column].double() for run, one in found.items()}
        self.resamples = Resamples.of(asked.seeds, len(self.scored.labels))

    @cached_property
    def arms(self) -> list[Arm]:
        """Those with at least one result, in the order of the study."""
        found = dict[tuple[str, str], Arm]()
        for row in self.table.rows:
            key = row.cell.axes["source"], row.cell.axes["strength"]
            if key not in found:
                empty = torch.zeros(self.asked.seeds, len(self.scored.labels), dtype=torch.float64)
                found[key] = Arm(*key, empty, torch.zeros(self.asked.seeds, dtype=torch.bool))
            if not row.failed:
                found[key].values[row.cell.seed] = self.values[row.run]
                found[key].there[row.cell.seed] = True
        return [arm for arm in found.values() if bool(arm.there.any())]

    def spread(self, arm: Arm) -> tuple[float, float, float]:
        """The mean of an arm, and its 95 % interval, seeds and sketches resampled together."""
        return (float(arm.values[arm.there].mean()), *middle(self.resamples.means(arm.values, arm.there)))

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """Each arm against none and against the shuffled one of its strength, and ConceptNet against WordNet."""
        pairs = [(less, arm) for arm in self.arms for less in self._against(arm)]
        drawn = [self._contrast(less, arm) for less, arm in pairs if bool((less.there & arm.there).any())]
        corrected = holm([one.test.p for one in drawn])
        return [
            replace(one, test=replace(one.test, p_holm=p)) for one, p in zip(drawn, corrected, strict=True)
        ]

    @property
    def reported(self) -> list[Contrast]:
        """ConceptNet against WordNet, repaired or as shipped: what the reported gap is about."""
        return [
            one
            for one in self.contrasts
            if one.arm.kind.startswith("conceptnet") and one.less.kind in _WORDNETS
        ]

    def _against(self, arm: Arm) -> list[Arm]:
        if arm.source == NONE:
            return []
        conceptnet = arm.kind.startswith("conceptnet")
        return [
            other
            for other in self.arms
            if other.source == NONE
            or (other.strength == arm.strength and other.kind == "shuffled" and arm.kind != "shuffled")
            or (other.strength == arm.strength and other.kind in _WORDNETS and conceptnet)
        ]

    def _contrast(self, less: Arm, arm: Arm) -> Contrast:
        both = less.there & arm.there
        gains = arm.values - less.values
        low, high = middle(self.resamples.means(gains, both))
        sides = [self._mean(one, both) for one in (less, arm)]
        test = compare(sides, [self.asked.column])[0]
        return Contrast(less, arm, low, high, tuple(gains[both].mean(1).tolist()), test)

    def _mean(self, arm: Arm, seeds: Bool[Tensor, " s"]) -> Scored:
        return replace(self.scored, name=arm.name, values={self.asked.column: arm.values[seeds].mean(0)})


_WORDNETS = ("wordnet", "sake-shipped")


def verdict(findings: SemanticsFindings) -> list[str]:
    """What the study says of the reported gap between ConceptNet and WordNet, a sentence a comparison."""
    if not findings.reported:
        return ["ConceptNet and WordNet were not both studied: nothing is said of the reported gap."]
    return [_said(one) for one in findings.reported] + _best(findings.contrasts)


def _said(one: Contrast) -> str:
    sign = "is above" if one.difference > 0 else "is below"
    sure = (
        "interval and test over classes agree"
        if one.decided
        else "which is no difference that these runs can tell from none"
    )
    inside = one.low <= REPORTED <= one.high
    gap = "lies inside" if inside else "lies outside"
    return (
        f"{one.arm.name} {sign} {one.less.name} by {abs(one.difference):.4f} (95 % {one.low:+.4f} to {one.high:+.4f}, "
        f"p over classes {one.test.p_classes:.3f}, {len(one.by_seed)} seeds): {sure}. "
        f"The reported +{REPORTED:.3f} {gap} that interval."
    )


def _best(contrasts: Sequence[Contrast]) -> list[str]:
    """Whether any source beats no semantics at all, beyond what its shuffled control does."""
    gains = [one for one in contrasts if one.less.source == NONE and one.arm.kind != "shuffled"]
    helping = [one.arm.name for one in gains if one.decided and one.difference > 0 and one.test.p_holm < 0.05]
    if helping:
        return [f"Better than no semantics after correction: {', '.join(helping)}."]
    return ["No source beats training without semantics after correction for the number of comparisons."]
