"""What an evaluation found, as plain facts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ssl_sbir.evaluation.metrics.bootstrap import Interval

MetricValues = dict[str, float]
ValuesByProtocol = Mapping[str, Mapping[str, Float[Tensor, " q"]]]


@dataclass(frozen=True)
class ProtocolResult:
    """The figures of one protocol.

    Attributes:
        micro: mean over queries, by metric.
        macro: mean over classes of their queries' mean.
        interval_queries: 95 % interval of `micro`, queries resampled.
        interval_classes: 95 % interval of `macro`, classes resampled.
        queries: how many queries took part.
        gallery: size of the gallery.
        without_relevant: queries left out because the gallery holds nothing relevant to them.
        definition: the parts it is made of.
        source: where the definition was read.
    """

    micro: MetricValues
    macro: MetricValues
    interval_queries: dict[str, Interval]
    interval_classes: dict[str, Interval]
    queries: int
    gallery: int
    without_relevant: int
    definition: str
    source: str

    def facts(self) -> dict[str, Any]:
        """JSON-able; the micro means stand at the top, under their metrics' names."""
        rest = asdict(self)
        micro = rest.pop("micro")
        return {**micro, **rest}


@dataclass(frozen=True)
class ClassResult:
    """One class: how many queries and photos it has, its means, and the ImageNet-1k classes that cover it."""

    name: str
    queries: int
    photos: int
    metrics: MetricValues
    imagenet: list[str]


@dataclass(frozen=True)
class Evaluation:
    """Everything an evaluation found.

    Attributes:
        verdict: one sentence on the integrity of what was measured; the first line of every print.
        name: what was evaluated.
        counts: queries, gallery, classes, queries without a relevant item, and the classes that the gallery lacks.
        chance: what a random order scores: `precision` and `mAP@all`.
        protocols: by name.
        skipped: protocols that could not be applied, with reasons.
        denominators: mean AP@200 of the same rankings, divided in the four published ways.
        classes: one entry a class.
        imagenet: `classes` in ImageNet-1k, `other_file_count`, and the means over the queries of each.
        audits: by name: `ok` (None where not run), `summary`, and figures.
        instances: acc@k where each query has one photo of its own.
        codes: by number of bits, then as `resolve_protocols`, micro means only.
        generalised: by generalised zero-shot protocol, then as `resolve_protocols`, micro means only.
        frozen: micro means by protocol of the untrained encoder at the start of the run.
        facts: what else a reader must know: split, data, encoder, centring, seeds.
        values: for each protocol and metric the value of each query (not in the JSON).
    """

    verdict: str
    name: str
    counts: dict[str, Any]
    chance: MetricValues
    protocols: dict[str, ProtocolResult]
    skipped: dict[str, str]
    denominators: MetricValues
    classes: list[ClassResult]
    imagenet: dict[str, Any]
    audits: dict[str, dict[str, Any]]
    instances: dict[str, MetricValues] = field(default_factory=dict)
    codes: dict[str, dict[str, MetricValues]] = field(default_factory=dict)
    generalised: dict[str, dict[str, Any]] = field(default_factory=dict)
    frozen: dict[str, MetricValues] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    values: ValuesByProtocol = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """All of it but the value of each query, JSON-able, with `protocols.<preset>.<metric>`."""
        plain = {
            name: value for name, value in vars(self).items() if name not in ("values", "facts", "protocols")
        }
        protocols = {name: result.facts() for name, result in self.protocols.items()}
        plain["classes"] = [asdict(one) for one in self.classes]
        verdict = plain.pop("verdict")
        return {"verdict": verdict, "protocols": protocols, **plain, **self.facts}
