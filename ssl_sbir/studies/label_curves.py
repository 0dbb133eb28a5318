"""Accuracy over labels: resampled curves, the labels a curve needs for an accuracy, and the area under it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CURVE_BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class BootstrapResamples:
    """The seeds and sketches of each bootstrap draw, shared by all curves, so that differences are paired.

    Attributes:
        seeds: drawn with replacement.
        queries: how often each sketch is drawn.
    """

    seeds: Int[Tensor, "draws s"]
    queries: Float[Tensor, "draws q"]

    @classmethod
    def from_counts(
        cls, seeds: int, queries: int, draws: int = CURVE_BOOTSTRAP_DRAWS, seed: int = 0
    ) -> "BootstrapResamples":
        """Draws as many seeds and sketches as there are."""
        generator = torch.Generator().manual_seed(seed)
        seed_draws = torch.randint(seeds, (draws, seeds), generator=generator)
        query_draws = torch.randint(queries, (draws, queries), generator=generator)
        counts = torch.zeros(draws, queries, dtype=torch.float64)
        ones = torch.ones_like(query_draws, dtype=torch.float64)
        return cls(seed_draws, counts.scatter_add_(1, query_draws, ones))

    def resample_means(
        self, values: Float[Tensor, "s q"], has_run: Bool[Tensor, " s"]
    ) -> Float[Tensor, " draws"]:
        """The mean over seeds and sketches in each draw.

        Args:
            values: of each seed's run and each sketch; ignored where `has_run` is false.
            has_run: which seeds have a run. A draw without any of them is replaced by all of them.
        """
        by_seed = (self.queries @ values.double().nan_to_num().T) / values.shape[1]
        weight = has_run[self.seeds].double()
        means = (by_seed.gather(1, self.seeds) * weight).sum(1) / weight.sum(1)
        return torch.where(weight.sum(1) > 0, means, by_seed[:, has_run].mean(1))


def axis_positions(labels: Float[Tensor, " p"], first: float) -> Float[Tensor, " p"]:
    """Positions on the axis of labels: 0 for none, 1 for the smallest positive number `first`, then 1 per factor of 10."""
    return torch.where(labels < first, labels / first, 1 + (labels.clamp(min=first) / first).log10())


def label_counts(positions: Float[Tensor, " n"], first: float) -> Float[Tensor, " n"]:
    """The numbers of labels at some positions: the inverse of `axis_positions`."""
    return torch.where(positions < 1, positions * first, first * 10 ** (positions - 1))


def first_crossing(
    positions: Float[Tensor, " p"], values: Float[Tensor, "draws p"], target: Float[Tensor, " draws"]
) -> Float[Tensor, " draws"]:
    """The first position where each curve, linear between its points, reaches its target; ∞ if it never does."""
    low, high, aim = values[:, :-1], values[:, 1:], target[:, None]
    crosses = (low < aim) & (high >= aim)
    share = ((aim - low) / (high - low).where(crosses, torch.ones_like(low))).where(
        crosses, torch.zeros_like(low)
    )
    along = positions[:-1] + share * (positions[1:] - positions[:-1])
    first = along.where(crosses, torch.full_like(along, torch.inf))
    after = first.min(1).values if first.shape[1] else torch.full_like(target, torch.inf)
    return torch.where(values[:, 0] >= target, positions[0], after)


def area_under_curve(
    positions: Float[Tensor, " p"], values: Float[Tensor, "draws p"]
) -> Float[Tensor, " draws"]:
    """The mean height of each curve, linear between its points, over its axis; for one point, its value."""
    if len(positions) == 1:
        return values[:, 0]
    return torch.trapezoid(values, positions, dim=1) / (positions[-1] - positions[0])


def percentile_interval(draws: Float[Tensor, " draws"]) -> tuple[float, float]:
    """The middle 95 % of draws, some of which may be ∞, so without interpolation between draws."""
    ordered = draws.sort().values
    last = len(ordered) - 1
    return float(ordered[int(0.025 * last)]), float(ordered[-1 - int(0.025 * last)])
