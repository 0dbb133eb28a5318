"""The findings of a semantics study: each source with its interval, compared with none, shuffled and WordNet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare_runs import (
    Difference,
    RunScores,
    compare_runs,
    holm_correction,
    load_run_scores,
    restrict_to_common_queries,
)
from ssl_sbir.studies.label_curves import BootstrapResamples, percentile_interval
from ssl_sbir.studies.semantics_study import NO_SOURCE, SemanticsStudy
from ssl_sbir.studies.study_table import StudyTable

# SAKE with ConceptNet minus SAKE with WordNet, one run each, as the fifth prototype reported (.568 and .547).
REPORTED_GAP = 0.021
NO_STRENGTH = "–"


@dataclass(frozen=True)
class StudyArm:
    """One source at one strength; `strength` is a dash for `none`.

    Attributes:
        values: of each seed's run and each sketch; 0 for a seed without a run.
        has_run: which seeds have a run.
    """

    source: str
    strength: str
    values: Float[Tensor, "s q"]
    has_run: Bool[Tensor, " s"]

    @property
    def source_kind(self) -> str:
        """The source without its file: conceptnet, shuffled, …"""
        return self.source.partition(":")[0]

    @property
    def display_name(self) -> str:
        """Source and strength in words; of a path, the file name only."""
        head, colon, rest = self.source.partition(":")
        short = f"{head}{colon}{Path(rest).name if '/' in rest else rest}"
        return short if self.strength == NO_STRENGTH else f"{short} · {self.strength}"


@dataclass(frozen=True)
class ArmContrast:
    """One arm minus another, over the seeds that both have.

    Attributes:
        baseline: the arm that is subtracted.
        arm: the other one.
        low: start of the 95 % interval, seeds and sketches resampled together.
        high: its end.
        by_seed: the difference for each seed.
        test: over sketches and over classes, with each sketch's mean over seeds; corrected for all contrasts.
    """

    baseline: StudyArm
    arm: StudyArm
    low: float
    high: float
    by_seed: tuple[float, ...]
    test: Difference

    @property
    def mean_difference(self) -> float:
        """The mean difference over seeds and sketches."""
        return self.test.difference

    @property
    def is_decisive(self) -> bool:
        """Whether the interval excludes 0 and the test over classes is significant."""
        return (self.low > 0 or self.high < 0) and self.test.p_classes < 0.05


class SemanticsFindings:
    """All findings of a semantics study's report.

    Args:
        study: the study.
        table: as `run_study` returned it.
        evaluations: of the runs that have a result, by run; read from their folders by default.

    Raises:
        EvaluationError: no run has a result, or the results lack the metric.
    """

    def __init__(
        self, study: SemanticsStudy, table: StudyTable, evaluations: Mapping[Path, RunScores] | None = None
    ) -> None:
        self.study, self.table = study, table
        found = evaluations or {row.run: load_run_scores(row.run) for row in table.rows if not row.has_failed}
        if not found:
            causes = "; ".join(sorted({row.cause for row in table.rows})[:3])
            raise EvaluationError(f"no run of the study has a result: {causes}", "See its logs/.")
        self.evaluation = next(iter(found.values()))
        if study.metric_column not in self.evaluation.values:
            raise EvaluationError(
                f"no '{study.metric_column}' in {self.evaluation.name}",
                f"It has: {', '.join(sorted(self.evaluation.values))}.",
            )
        found = restrict_to_common_queries(found, study.metric_column)
        self.evaluation = next(iter(found.values()))
        self.values = {run: one.values[study.metric_column].double() for run, one in found.items()}
        self.resamples = BootstrapResamples.from_counts(study.seeds, len(self.evaluation.labels))

    @cached_property
    def study_arms(self) -> list[StudyArm]:
        """The arms with at least one result, in the order of the study."""
        arms = dict[tuple[str, str], StudyArm]()
        for row in self.table.rows:
            key = row.cell.axes["source"], row.cell.axes["strength"]
            if key not in arms:
                empty = torch.zeros(self.study.seeds, len(self.evaluation.labels), dtype=torch.float64)
                arms[key] = StudyArm(*key, empty, torch.zeros(self.study.seeds, dtype=torch.bool))
            if not row.has_failed:
                arms[key].values[row.cell.seed] = self.values[row.run]
                arms[key].has_run[row.cell.seed] = True
        return [arm for arm in arms.values() if bool(arm.has_run.any())]

    def mean_with_interval(self, arm: StudyArm) -> tuple[float, float, float]:
        """The mean of an arm and its 95 % interval; seeds and sketches are resampled together."""
        return (
            float(arm.values[arm.has_run].mean()),
            *percentile_interval(self.resamples.resample_means(arm.values, arm.has_run)),
        )

    @cached_property
    def corrected_contrasts(self) -> list[ArmContrast]:
        """Each arm against none and against the shuffled arm of its strength, and ConceptNet against WordNet."""
        contrasts = [
            self._compute_contrast(baseline, arm)
            for arm in self.study_arms
            for baseline in self._baselines_of(arm)
            if bool((baseline.has_run & arm.has_run).any())
        ]
        corrected = holm_correction([one.test.p for one in contrasts])
        return [
            replace(one, test=replace(one.test, p_holm=p))
            for one, p in zip(contrasts, corrected, strict=True)
        ]

    @property
    def reported_contrasts(self) -> list[ArmContrast]:
        """ConceptNet against WordNet, repaired or as shipped: the comparison of the reported gap."""
        return [
            one
            for one in self.corrected_contrasts
            if one.arm.source_kind.startswith("conceptnet") and one.baseline.source_kind in _WORDNET_SOURCES
        ]

    def _baselines_of(self, arm: StudyArm) -> list[StudyArm]:
        if arm.source == NO_SOURCE:
            return []
        conceptnet = arm.source_kind.startswith("conceptnet")
        return [
            other
            for other in self.study_arms
            if other.source == NO_SOURCE
            or (
                other.strength == arm.strength
                and other.source_kind == "shuffled"
                and arm.source_kind != "shuffled"
            )
            or (other.strength == arm.strength and other.source_kind in _WORDNET_SOURCES and conceptnet)
        ]

    def _compute_contrast(self, baseline: StudyArm, arm: StudyArm) -> ArmContrast:
        both = baseline.has_run & arm.has_run
        gains = arm.values - baseline.values
        low, high = percentile_interval(self.resamples.resample_means(gains, both))
        sides = [self._mean_over_seeds(one, both) for one in (baseline, arm)]
        test = compare_runs(sides, [self.study.metric_column])[0]
        return ArmContrast(baseline, arm, low, high, tuple(gains[both].mean(1).tolist()), test)

    def _mean_over_seeds(self, arm: StudyArm, seeds: Bool[Tensor, " s"]) -> RunScores:
        return replace(
            self.evaluation,
            name=arm.display_name,
            values={self.study.metric_column: arm.values[seeds].mean(0)},
        )


_WORDNET_SOURCES = ("wordnet", "sake-shipped")


def describe_reported_gap(findings: SemanticsFindings) -> list[str]:
    """The study's result on the reported gap between ConceptNet and WordNet, one sentence per comparison."""
    if not findings.reported_contrasts:
        return ["ConceptNet and WordNet were not both studied, so the reported gap was not tested."]
    return [_describe_contrast(one) for one in findings.reported_contrasts] + _describe_best_sources(
        findings.corrected_contrasts
    )


def _describe_contrast(one: ArmContrast) -> str:
    sign = "is above" if one.mean_difference > 0 else "is below"
    certainty = "significant" if one.is_decisive else "not significant"
    gap = "lies inside" if one.low <= REPORTED_GAP <= one.high else "lies outside"
    return (
        f"{one.arm.display_name} {sign} {one.baseline.display_name} by {abs(one.mean_difference):.4f} "
        f"(95 % {one.low:+.4f} to {one.high:+.4f}, "
        f"p over classes {one.test.p_classes:.3f}, {len(one.by_seed)} seeds): {certainty}. "
        f"The reported +{REPORTED_GAP:.3f} {gap} that interval."
    )


def _describe_best_sources(contrasts: Sequence[ArmContrast]) -> list[str]:
    """Which sources are better than no semantics."""
    gains = [
        one for one in contrasts if one.baseline.source == NO_SOURCE and one.arm.source_kind != "shuffled"
    ]
    helping = [
        one.arm.display_name
        for one in gains
        if one.is_decisive and one.mean_difference > 0 and one.test.p_holm < 0.05
    ]
    if helping:
        return [f"Better than no semantics after correction: {', '.join(helping)}."]
    return [
        "No source is better than training without semantics after correction for the number of comparisons."
    ]
