"""Every published number, exact, under the name of its definition."""

from ssl_sbir.evaluation.embeddings import Measured, Number, evaluate_embeddings
from ssl_sbir.evaluation.protocols import PRESETS, Protocol

__all__ = ["PRESETS", "Measured", "Number", "Protocol", "evaluate_embeddings"]
