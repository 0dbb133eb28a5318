"""The published definitions of retrieval figures, each composed of named parts.

"mAP@200" alone is ambiguous: the released codes differ in the similarity, in the kind of average precision, in the
denominators of AP@k and P@k, in how ties are broken and in which photos form the gallery.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.metrics.measures import (
    AveragePrecision,
    AveragePrecisionDenominator,
    Envelope,
    PrecisionAtK,
    PrecisionDenominator,
    RankingMeasure,
    TieHandling,
)
from ssl_sbir.registry import did_you_mean

Similarity = Literal["cosine", "euclidean"]
GalleryRule = Literal["all", "strided", "one photo per query"]


@dataclass(frozen=True)
class EvaluationProtocol:
    """One published definition of the figures.

    Attributes:
        name: of the protocol in results.
        source: the paper and code that the definition is from.
        similarity: `cosine`, or `euclidean` for anything that falls with the distance, as exp(−d) and 1/(1+d).
        envelope: kind of average precision over the whole ranking; None if the source reports no mAP@all.
        average_over: the denominator of AP@k; None if the source reports no mAP@k.
        precision_over: the denominator of P@k; None if the source reports no P@k.
        ties: `stable`, `grouped` or `expected`.
        gallery: `all`; `strided`, every s-th query against every t-th photo; or `one photo per query`, where the
            gallery is one random photo of the query's class for each query, sampled with replacement.
    """

    name: str
    source: str
    similarity: Similarity = "cosine"
    envelope: Envelope | None = "plain"
    average_over: AveragePrecisionDenominator | None = "min(k,R)"
    precision_over: PrecisionDenominator | None = "k"
    ties: TieHandling = "stable"
    gallery: GalleryRule = "all"

    def build_measures(self) -> dict[str, RankingMeasure]:
        """The measures it defines, by their names in results."""
        measures: dict[str, RankingMeasure] = {}
        if self.envelope is not None:
            measures["mAP@all"] = AveragePrecision(self.envelope, None, "R", self.ties)
        if self.average_over is not None:
            measures["mAP@200"] = AveragePrecision(
                self.envelope or "plain", 200, self.average_over, self.ties
            )
        if self.precision_over is not None:
            measures["P@100"] = PrecisionAtK(100, self.precision_over, self.ties)
            measures["P@200"] = PrecisionAtK(200, self.precision_over, self.ties)
        return measures

    def query_and_gallery_sizes(
        self, query_labels: Int[Tensor, " q"], gallery_labels: Int[Tensor, " n"], strides: tuple[int, int]
    ) -> tuple[int, int]:
        """The number of queries and gallery items it uses."""
        queries, items = len(query_labels), len(gallery_labels)
        if self.gallery == "strided":
            return -(-queries // strides[0]), -(-items // strides[1])
        if self.gallery == "one photo per query":
            return queries, int(torch.isin(query_labels, gallery_labels).sum())
        return queries, items

    def with_ties(self, ties: TieHandling) -> "EvaluationProtocol":
        """The same definition under another tie rule; the VOC envelope has no closed expectation and stays stable."""
        if ties == "expected" and self.envelope == "voc":
            return replace(self, ties="stable")
        return replace(self, ties=ties)

    def format_definition(self) -> str:
        """Its parts in one line, for a table's footnote."""
        parts: list[str] = [self.similarity]
        if self.envelope:
            parts.append("AP with the VOC envelope" if self.envelope == "voc" else "plain AP")
        if self.average_over:
            parts.append(f"AP@k ÷ {self.average_over}")
        if self.precision_over:
            rank = self.precision_over == "rank k+1"
            parts.append(f"P@k {'relevance of rank k+1' if rank else f'÷ {self.precision_over}'}")
        return ", ".join([*parts, f"{self.ties} ties", f"gallery: {self.gallery}"])


PRESETS: dict[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol("standard", "the textbook definitions; used to compare our own runs"),
        EvaluationProtocol(
            "sake",
            "SAKE (Liu et al., ICCV 2019), released code: eval_AP_inner, VOCap, eval_precision",
            envelope="voc",
            precision_over="min(k,N)",
        ),
        EvaluationProtocol(
            "zse",
            "ZSE-SBIR (Lin et al., CVPR 2023), released code: utils/ap.py, full test set",
            envelope="voc",
            precision_over="min(k,R)",
        ),
        EvaluationProtocol(
            "zse-strided",
            "ZSE-SBIR, released code with its default --split: every 20th sketch against every 10th photo "
            "(TU-Berlin 3 and 20, QuickDraw 120 and 30)",
            envelope="voc",
            precision_over="min(k,R)",
            gallery="strided",
        ),
        EvaluationProtocol(
            "sempcyc",
            "SEM-PCYC (Dutta & Akata, CVPR 2019), released code: utils.py apsak, precak",
            similarity="euclidean",
            average_over="hits",
            precision_over="min(k,N)",
            ties="grouped",
        ),
        EvaluationProtocol(
            "doodle2search",
            "Doodle2Search (Dey et al., CVPR 2019), released code: test.py",
            similarity="euclidean",
            average_over="hits",
            precision_over="rank k+1",
            ties="grouped",
        ),
        EvaluationProtocol(
            "yelamarthi",
            "Yelamarthi et al., ECCV 2018: AP@200 and P@200 divided by k",
            envelope=None,
            average_over="k",
        ),
        EvaluationProtocol(
            "clip-at",
            "CLIP-AT (Sain et al., CVPR 2023), released code: model_LN_prompt.py, with the torchmetrics defect "
            "for scores ≤ 0 repaired",
            average_over=None,
            precision_over=None,
            gallery="one photo per query",
        ),
    )
}


def resolve_protocols(
    names: Iterable[str | EvaluationProtocol] | None = None, ties: TieHandling | None = None
) -> Sequence[EvaluationProtocol]:
    """The protocols of some names; all presets by default.

    Args:
        names: preset names, or your own protocols.
        ties: a tie rule that replaces each protocol's own.

    Raises:
        EvaluationError: no preset has that name.
    """
    protocols = [_find_preset(name) for name in (names or PRESETS)]
    return protocols if ties is None else [protocol.with_ties(ties) for protocol in protocols]


def parse_tie_rule(name: str | None) -> TieHandling | None:
    """The tie rule of a name; None for each protocol's own.

    Raises:
        EvaluationError: there is no such rule.
    """
    rules: dict[str, TieHandling] = {"stable": "stable", "grouped": "grouped", "expected": "expected"}
    if name is not None and name not in rules:
        raise EvaluationError(
            f"unknown tie rule '{name}'.{did_you_mean(name, rules)}", f"Known: {', '.join(rules)}."
        )
    return None if name is None else rules[name]


def _find_preset(name: str | EvaluationProtocol) -> EvaluationProtocol:
    if isinstance(name, EvaluationProtocol):
        return name
    if name not in PRESETS:
        raise EvaluationError(
            f"unknown protocol '{name}'.{did_you_mean(name, PRESETS)}",
            f"Known protocols: {', '.join(PRESETS)}.",
        )
    return PRESETS[name]
