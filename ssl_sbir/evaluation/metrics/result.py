"""The results of an evaluation, as plain values."""

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
        queries: number of queries.
        gallery: number of gallery items.
        without_relevant: queries excluded because the gallery has no relevant item for them.
        definition: the parts of the definition.
        source: the paper and code that the definition is from.
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
        """JSON-able; the micro means come first, under their metrics' names."""
        rest = asdict(self)
        micro = rest.pop("micro")
        return {**micro, **rest}


@dataclass(frozen=True)
class ClassResult:
    """One class: its numbers of queries and photos, its means, and the ImageNet-1k classes that cover it."""

    name: str
    queries: int
    photos: int
    metrics: MetricValues
    imagenet: list[str]


@dataclass(frozen=True)
class Evaluation:
    """All results of an evaluation.

    Attributes:
        verdict: one sentence on the integrity of the evaluation; printed first.
        name: of the run, encoder or features.
        counts: queries, gallery, classes, queries without a relevant item, and the classes that the gallery lacks.
        chance: the expected `precision` and `mAP@all` of a random ranking.
        protocols: by name.
        skipped: protocols that don't apply, with reasons.
        denominators: mean AP@200 of the same rankings under the four published denominators.
        classes: one entry per class.
        imagenet: `classes` in ImageNet-1k, `others`, and the means over the queries of each.
        audits: by name: `ok` (None if not run), `summary`, and figures.
        instances: acc@k if each query has a photo of its own.
        codes: by number of bits, then as `protocols`, micro means only.
        generalised: by generalised zero-shot protocol, then as `protocols`, micro means only.
        frozen: micro means by protocol of the untrained encoder at the start of the run.
        facts: split, data, encoder, centring and seed.
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
        """All of it except the values of queries, JSON-able, with `protocols.<preset>.<metric>`."""
        plain = {
            name: value for name, value in vars(self).items() if name not in ("values", "facts", "protocols")
        }
        protocols = {name: result.facts() for name, result in self.protocols.items()}
        plain["classes"] = [asdict(one) for one in self.classes]
        verdict = plain.pop("verdict")
        return {"verdict": verdict, "protocols": protocols, **plain, **self.facts}
