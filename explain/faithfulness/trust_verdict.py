"""How far the heat maps of a page can be trusted: counts of passed tests, and a verdict in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_sbir.explain.attribution.method_names import METHOD_NAMES
from ssl_sbir.explain.faithfulness.faithfulness_tests import FaithfulnessCheck
from ssl_sbir.explain.faithfulness.weight_randomization import RandomizedAgreement
from ssl_sbir.reports.render import format_decimals

# With fewer pairs than this, maps may beat all baselines by luck.
FEW_PAIRS = 5
# Maps that beat a baseline less often than this are not said to be better than it; by chance it is half the time.
MIN_WIN_SHARE = 0.6
# Mean rank correlations: with the maps of shuffled weights, and with the maps of shifted images.
SAME_MAP_CORRELATION = 0.5
STABLE_CORRELATION, UNSTABLE_CORRELATION = 0.7, 0.4


@dataclass(frozen=True)
class MethodTally:
    """How often one method's maps beat maps that don't depend on the encoder.

    Attributes:
        method: that computed the maps.
        checks: number of maps tested, of drawings and photos together.
        random: number of maps that beat random maps of the same resolution.
        edges: number of maps that beat the edge map.
        pairs: number of drawing-photo pairs.
        pairs_random: number of pairs whose maps of both sides together beat the random maps.
    """

    method: str
    checks: int
    random: int
    edges: int
    pairs: int
    pairs_random: int


@dataclass(frozen=True)
class TrustAssessment:
    """The results of all tests of a page's maps.

    Attributes:
        tallies: one for each method.
        method: the method that `randomised`, `steady` and `verdict` are about.
        randomised: agreement with the maps of an encoder with shuffled weights; empty if not computed.
        steady: mean rank correlation of the drawing's and the photos' maps after a small shift.
        integral: largest error of integrated gradients; None if they weren't computed.
        verdict: a summary in a few sentences.
    """

    tallies: tuple[MethodTally, ...]
    method: str
    randomised: tuple[RandomizedAgreement, ...]
    steady: tuple[float | None, float | None]
    integral: float | None
    verdict: str


def tally_methods(pairs: Sequence[Sequence[FaithfulnessCheck]]) -> tuple[MethodTally, ...]:
    """The counts of each method over all pairs, in the order in which the methods first appear."""
    methods = dict.fromkeys(check.method for checks in pairs for check in checks)
    return tuple(_tally_method(method, pairs) for method in methods)


def assess_trust(
    pairs: Sequence[Sequence[FaithfulnessCheck]],
    randomised: Sequence[RandomizedAgreement] = (),
    steady: tuple[float | None, float | None] = (None, None),
    integral: float | None = None,
) -> TrustAssessment | None:
    """The assessment of a page's maps; the verdict is about the first method. None if nothing was tested."""
    tallies = tally_methods(pairs)
    if not tallies:
        return None
    first = tallies[0]
    sentences = [
        _describe_baseline_wins(first),
        reliance_advice(first),
        *_describe_randomization(randomised),
        *_describe_stability(steady),
    ]
    return TrustAssessment(tallies, first.method, tuple(randomised), steady, integral, " ".join(sentences))


def reliance_advice(tally: MethodTally) -> str:
    """How far a reader may rely on one method's maps, in a sentence."""
    if tally.pairs_random / tally.pairs < MIN_WIN_SHARE:
        return "Don't rely on them here: random maps do about as well."
    if tally.edges / tally.checks < MIN_WIN_SHARE:
        return "They say more than random maps, but hardly more than a map of the image's edges."
    if tally.pairs < FEW_PAIRS:
        return "They seem to mark the right area, but so few pairs prove little."
    return "Rely on them for the area, not for the exact outline."


def _tally_method(method: str, pairs: Sequence[Sequence[FaithfulnessCheck]]) -> MethodTally:
    mine = [[check for check in checks if check.method == method] for checks in pairs]
    all_checks = [check for checks in mine for check in checks]
    pairs_won = [
        sum(check.area for check in checks) > sum(check.random for check in checks) for checks in mine
    ]
    return MethodTally(
        method,
        len(all_checks),
        sum(check.beats_random for check in all_checks),
        sum(check.beats_edges for check in all_checks),
        len(mine),
        sum(pairs_won),
    )


def _describe_baseline_wins(tally: MethodTally) -> str:
    name = METHOD_NAMES[tally.method]
    return (
        f"Tested here, the {name} explain the score better than random maps in {tally.pairs_random} of {tally.pairs} "
        f"pairs, and better than an edge map in {tally.edges} of {tally.checks} maps."
    )


def _describe_randomization(randomised: Sequence[RandomizedAgreement]) -> list[str]:
    last = [side for stage in randomised[-1:] for side in (stage.drawing, stage.photo)]
    known = [value for value in last if value is not None]
    if not known:
        return []
    correlation = sum(known) / len(known)
    if abs(correlation) < SAME_MAP_CORRELATION:
        how = "change as they should"
    else:
        how = "change less than they should"
    scale = f"(correlation {format_decimals(correlation, 2)}; 1: the same map, 0: an unrelated one)"
    return [f"They {how} when the encoder's weights are shuffled {scale}."]


def _describe_stability(steady: tuple[float | None, float | None]) -> list[str]:
    known = [value for value in steady if value is not None]
    if not known:
        return []
    correlation = sum(known) / len(known)
    if correlation > STABLE_CORRELATION:
        how = "hardly change"
    elif correlation > UNSTABLE_CORRELATION:
        how = "change somewhat"
    else:
        how = "change a lot"
    shown = format_decimals(correlation, 2)
    return [f"They {how} when an image is shifted by a few pixels (correlation {shown}; 1 at best)."]
