"""The published ways to turn a ranking into numbers, each put together from named parts.

"mAP@200" alone means nothing: the released codes differ in the similarity, in the kind of average precision, in
what AP@k and P@k are divided by, in how ties are broken and in which photos form the gallery.
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
    """One published definition of the numbers.

    Attributes:
        name: what results are printed under.
        source: where the definition was read.
        similarity: `cosine_scores`, or `euclidean_scores` for anything that falls with the distance, as exp(−d) and 1/(1+d).
        envelope: kind of average precision over the whole ranking; None where the source gives no mAP@all.
        average_over: what AP@k is divided by; None where the source gives no mAP@k.
        precision_over: what P@k is divided by; None where the source gives no P@k.
        ties: `stable`, `grouped` or `expected`.
        gallery: `all`; `strided`, every s-th query against every t-th photo; or `one photo per query`, where the
            gallery is one random photo of the query's class for each query, drawn with repetition.
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
        """The measures it defines, by the names they are printed under."""
        found: dict[str, RankingMeasure] = {}
        if self.envelope is not None:
            found["mAP@all"] = AveragePrecision(self.envelope, None, "R", self.ties)
        if self.average_over is not None:
            found["mAP@200"] = AveragePrecision(self.envelope or "plain", 200, self.average_over, self.ties)
        if self.precision_over is not None:
            found["P@100"] = PrecisionAtK(100, self.precision_over, self.ties)
            found["P@200"] = PrecisionAtK(200, self.precision_over, self.ties)
        return found

    def query_and_gallery_sizes(
        self, query_labels: Int[Tensor, " q"], gallery_labels: Int[Tensor, " n"], strides: tuple[int, int]
    ) -> tuple[int, int]:
        """How many queries and gallery items it looks at."""
        queries, items = len(query_labels), len(gallery_labels)
        if self.gallery == "strided":
            return -(-queries // strides[0]), -(-items // strides[1])
        if self.gallery == "one photo per query":
            return queries, int(torch.isin(query_labels, gallery_labels).sum())
        return queries, items

    def with_ties(self, ties: TieHandling) -> "EvaluationProtocol":
        """The same definition under another tie rule; an envelope has no closed expectation and stays stable."""
        if ties == "expected" and self.envelope == "voc":
            return replace(self, ties="stable")
        return replace(self, ties=ties)

    def format_definition(self) -> str:
        """Its parts in one line, as a table's footnote."""
        parts: list[str] = [self.similarity]
        if self.envelope:
            parts.append("AP with the VOC envelope" if self.envelope == "voc" else "plain AP")
        if self.average_over:
            parts.append(f"AP@k ÷ {self.average_over}")
        if self.precision_over:
            whole = (
                "relevance of rank k+1" if self.precision_over == "rank k+1" else f"÷ {self.precision_over}"
            )
            parts.append(f"P@k {whole}")
        return ", ".join([*parts, f"{self.ties} ties", f"gallery: {self.gallery}"])


PRESETS: dict[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol("standard", "the textbook definitions; what we compare our own runs by"),
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
    """The protocols of those names; all presets where none is named.

    Args:
        names: preset names, or protocols of one's own.
        ties: a tie rule that takes the place of every preset's own.

    Raises:
        EvaluationError: no preset has that name.
    """
    found = [_find_preset(name) for name in (names or PRESETS)]
    return found if ties is None else [protocol.with_ties(ties) for protocol in found]


def parse_tie_rule(name: str | None) -> TieHandling | None:
    """The tie rule of that name; None for each protocol's own.

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
