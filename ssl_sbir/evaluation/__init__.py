"""Every published retrieval number, exact, with its name on it."""

from ssl_sbir.evaluation.embeddings import evaluate_embeddings
from ssl_sbir.evaluation.protocols import PRESETS, Protocol
from ssl_sbir.evaluation.result import Evaluation, ProtocolResult

__all__ = ["PRESETS", "Evaluation", "Protocol", "ProtocolResult", "evaluate_embeddings"]
