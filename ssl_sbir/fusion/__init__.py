"""A drawing and a sentence as one query, in the space of photos that were embedded without either."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.fusion.concatenation import ConcatenationFusion as ConcatenationFusion
    from ssl_sbir.fusion.concatenation import LabelTextTower as LabelTextTower
    from ssl_sbir.fusion.export_text_side import load_text_tower as load_text_tower
    from ssl_sbir.fusion.export_text_side import save_text_tower as save_text_tower
    from ssl_sbir.fusion.fusion_kinds import Fusion as Fusion
    from ssl_sbir.fusion.fusion_kinds import GatedFusion as GatedFusion
    from ssl_sbir.fusion.fusion_kinds import JointFusion as JointFusion
    from ssl_sbir.fusion.fusion_kinds import LateFusion as LateFusion
    from ssl_sbir.fusion.fusion_registry import create_fusion as create_fusion
    from ssl_sbir.fusion.modulation import ModulationFusion as ModulationFusion
    from ssl_sbir.fusion.teacher_text_side import text_side_of_rows as text_side_of_rows
    from ssl_sbir.fusion.teacher_text_side import trained_text_side as trained_text_side
    from ssl_sbir.fusion.text_tower import FusedQuery as FusedQuery
    from ssl_sbir.fusion.text_tower import QueryWeights as QueryWeights
    from ssl_sbir.fusion.text_tower import TextTower as TextTower
    from ssl_sbir.fusion.vocabulary_tower import VocabularySide as VocabularySide
    from ssl_sbir.fusion.vocabulary_tower import VocabularyTextTower as VocabularyTextTower

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "concatenation": (
            "ConcatenationFusion",
            "LabelTextTower",
        ),
        "export_text_side": (
            "load_text_tower",
            "save_text_tower",
        ),
        "fusion_kinds": (
            "Fusion",
            "GatedFusion",
            "JointFusion",
            "LateFusion",
        ),
        "fusion_registry": ("create_fusion",),
        "modulation": ("ModulationFusion",),
        "teacher_text_side": (
            "text_side_of_rows",
            "trained_text_side",
        ),
        "text_tower": (
            "FusedQuery",
            "QueryWeights",
            "TextTower",
        ),
        "vocabulary_tower": (
            "VocabularySide",
            "VocabularyTextTower",
        ),
    },
)
