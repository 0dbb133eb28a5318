"""Every published retrieval number, exact, under the name of its definition."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.evaluation.from_embeddings import evaluate_embeddings as evaluate_embeddings
    from ssl_sbir.evaluation.metrics.protocols import PRESETS as PRESETS
    from ssl_sbir.evaluation.metrics.protocols import EvaluationProtocol as EvaluationProtocol
    from ssl_sbir.evaluation.metrics.result import Evaluation as Evaluation
    from ssl_sbir.evaluation.metrics.result import ProtocolResult as ProtocolResult

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "from_embeddings": ("evaluate_embeddings",),
        "metrics.protocols": (
            "EvaluationProtocol",
            "PRESETS",
        ),
        "metrics.result": (
            "Evaluation",
            "ProtocolResult",
        ),
    },
)
