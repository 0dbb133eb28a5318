"""How far the heat maps of a page can be trusted, in counts and in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_sbir.explain.attribution.method_names import METHOD_NAMES
from ssl_sbir.explain.faithfulness.faithfulness_tests import FaithfulnessCheck
from ssl_sbir.explain.faithfulness.weight_randomization import RandomizedAgreement
from ssl_sbir.reports.render import format_decimals

# With fewer pairs than this, even maps that beat everything may have been lucky.
FEW_PAIRS = 5


@dataclass(frozen=True)
class MethodTally:
    """How often one method's maps did better than maps without knowledge of the encoder.

    Attributes:
        method: the maps'.
        checks: how many maps were tested, drawings and photos together.
        random: how many beat random maps of the same coarseness.
        edges: how many beat a map of edges.
        pairs: how many pairs of drawing and photo there are.
        pairs_random: in how many of them drawing and photo together beat the random maps.
    """

    method: str
    checks: int
    random: int
    edges: int
    pairs: int
    pairs_random: int


@dataclass(frozen=True)
class TrustAssessment:
    """What was done to find out whether the maps can be trusted.

    Attributes:
        tallies: one a method.
        method: the one that the other figures are of.
        randomised: how alike maps stay while weights are drawn by lot; empty where not computed.
        steady: mean rank correlation of the drawing's and the photos' maps after a small shift.
        integral: largest error of integrated gradients, where they were computed.
        verdict: all of it in one or two sentences.
    """

    tallies: tuple[MethodTally, ...]
    method: str
    randomised: tuple[RandomizedAgreement, ...]
    steady: tuple[float | None, float | None]
    integral: float | None
    verdict: str


def tally_methods(pairs: Sequence[Sequence[FaithfulnessCheck]]) -> tuple[MethodTally, ...]:
    """The counts of each method over some pairs, in the order in which methods first appear."""
    methods = dict.fromkeys(check.method for checks in pairs for check in checks)
    return tuple(_tally_method(method, pairs) for method in methods)


def assess_trust(
    pairs: Sequence[Sequence[FaithfulnessCheck]],
    randomised: Sequence[RandomizedAgreement] = (),
    steady: tuple[float | None, float | None] = (None, None),
    integral: float | None = None,
) -> TrustAssessment | None:
    """The trust in a page's maps, None where nothing was tested."""
    counts = tally_methods(pairs)
    if not counts:
        return None
    first = counts[0]
    sentences = [
        *(_describe_baseline_wins(one) for one in counts[:1]),
        _reliance_advice(first),
        *_describe_randomization(randomised),
        *_describe_stability(steady),
    ]
    return TrustAssessment(counts, first.method, tuple(randomised), steady, integral, " ".join(sentences))


def _tally_method(method: str, pairs: Sequence[Sequence[FaithfulnessCheck]]) -> MethodTally:
    mine = [[check for check in checks if check.method == method] for checks in pairs]
    all_checks = [check for checks in mine for check in checks]
    together = [
        sum(check.area for check in checks) > sum(check.random for check in checks) for checks in mine
    ]
    return MethodTally(
        method,
        len(all_checks),
        sum(check.beats_random for check in all_checks),
        sum(check.beats_edges for check in all_checks),
        len(mine),
        sum(together),
    )


def _describe_baseline_wins(one: MethodTally) -> str:
    name = METHOD_NAMES[one.method]
    return (
        f"Tested here, the {name} explain the score better than chance in {one.pairs_random} of {one.pairs} pairs, "
        f"and better than a plain map of edges in {one.edges} of {one.checks} maps."
    )


def _reliance_advice(one: MethodTally) -> str:
    chance, edges = one.pairs_random / one.pairs, one.edges / one.checks
    if chance < 0.6:
        return "Don't rely on them here: random maps do about as well."
    if edges < 0.6:
        return "They point at more than chance does, but hardly at more than where the lines are."
    if one.pairs < FEW_PAIRS:
        return "They seem to point at the right area; so few pairs prove little."
    return "They can be relied on for the area, not for the exact outline."


def _describe_randomization(randomised: Sequence[RandomizedAgreement]) -> list[str]:
    last = [side for it in randomised[-1:] for side in (it.drawing, it.photo)]
    known = [value for value in last if value is not None]
    if not known:
        return []
    left = sum(known) / len(known)
    how = (
        ", as they must" if abs(left) < 0.5 else " less than they should: they partly show the picture itself"
    )
    scale = f"(likeness {format_decimals(left, 2)}, where 1 is the same map and 0 an unrelated one)"
    return [f"They change when the encoder's weights are shuffled{how} {scale}."]


def _describe_stability(steady: tuple[float | None, float | None]) -> list[str]:
    known = [value for value in steady if value is not None]
    if not known:
        return []
    left = sum(known) / len(known)
    how = "hold still" if left > 0.7 else "move somewhat" if left > 0.4 else "jump"
    return [
        f"They {how} when a picture is shifted by a few pixels (likeness {format_decimals(left, 2)}, 1 at best)."
    ]
