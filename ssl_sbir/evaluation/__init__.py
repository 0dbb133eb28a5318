"""Every published retrieval number, exact, with its name on it."""

from ssl_sbir.evaluation.from_embeddings import evaluate_embeddings
from ssl_sbir.evaluation.metrics.protocols import PRESETS, EvaluationProtocol
from ssl_sbir.evaluation.metrics.result import Evaluation, ProtocolResult

__all__ = ["PRESETS", "Evaluation", "EvaluationProtocol", "ProtocolResult", "evaluate_embeddings"]
