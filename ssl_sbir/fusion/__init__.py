"""A drawing and a sentence as one query, in the space of photos that were embedded without either."""

from ssl_sbir.fusion.concatenation import Concatenation, LabelTower
from ssl_sbir.fusion.export import load_tower, save_tower
from ssl_sbir.fusion.kinds import Fusion, Gate, Joint, Late, fusions
from ssl_sbir.fusion.modulation import Modulation
from ssl_sbir.fusion.tower import Query, TextTower, Weights

__all__ = [
    "Concatenation",
    "Fusion",
    "Gate",
    "Joint",
    "LabelTower",
    "Late",
    "Modulation",
    "Query",
    "TextTower",
    "Weights",
    "fusions",
    "load_tower",
    "save_tower",
]
