"""A drawing and a sentence as one query, in the space of photos that were embedded without either."""

from ssl_sbir.fusion.concatenation import ConcatenationFusion, LabelTextTower
from ssl_sbir.fusion.export_text_side import load_text_tower, save_text_tower
from ssl_sbir.fusion.fusion_kinds import Fusion, GatedFusion, JointFusion, LateFusion, fusion_registry
from ssl_sbir.fusion.modulation import ModulationFusion
from ssl_sbir.fusion.text_tower import FusedQuery, QueryWeights, TextTower

__all__ = [
    "ConcatenationFusion",
    "FusedQuery",
    "Fusion",
    "GatedFusion",
    "JointFusion",
    "LabelTextTower",
    "LateFusion",
    "ModulationFusion",
    "QueryWeights",
    "TextTower",
    "fusion_registry",
    "load_text_tower",
    "save_text_tower",
]
