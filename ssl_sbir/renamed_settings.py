"""Settings that had another name in version 0.1.0: old keys and their present names, by recipe."""

from collections.abc import Mapping
from typing import Any

_EVERYWHERE = {
    "augment.crop": "augment.min_crop_area",
    "augment.colour": "augment.color_jitter",
    "augment.grey": "augment.grayscale",
    "augment.wobble": "augment.elastic",
    "augment.ink": "augment.stroke_width",
    "augment.gaps": "augment.stroke_gaps",
    "monitor.least_rank": "monitor.min_rank",
    "monitor.least_spread": "monitor.min_spread",
    "monitor.seen": "monitor.seen_retrieval",
}
_TWO_VIEWS = {"own_sketch": "pseudo_sketch_view"}
_PROJECTION = {"projection": "projection_dim"}
_QUEUE = {"queue": "queue_size"}
_EMBEDDING = {"code": "embedding_dim", "preserve": "distillation"}
_SELFLABEL = {
    **_EMBEDDING,
    "clusters": "num_clusters",
    "edges": "edge_detector",
    "focus": "foreground_fraction",
    "framing": "reframed_fraction",
    "sharpness": "assignment_temperature",
    "evidence": "frozen_weight",
    "own": "self_weight",
    "alike": "label_spreading",
    "evenness": "class_balance",
    "memory": "embedding_momentum",
    "trust": "confident_fraction",
    "trust_end": "confident_fraction_end",
    "kinship": "class_distillation",
}
_DOODLE2SEARCH = {
    "code": "embedding_dim",
    "start": "embedding_init",
    "unknown": "unknown_classes",
    "spread": "negative_temperature",
    "reversal": "gradient_reversal",
}
_SAKE = {
    **_EMBEDDING,
    "kinship": "class_distillation",
    "distil_scale": "teacher_logit_scale",
    "nearness": "similarity_weight",
    "unknown": "unknown_classes",
}
_TEXT = {"text": "text_encoder"}

_BY_RECIPE: Mapping[str, Mapping[str, str]] = {
    "barlow": {**_TWO_VIEWS, **_PROJECTION},
    "byol": {**_TWO_VIEWS, **_PROJECTION, "hidden": "hidden_dim"},
    "coclr": {
        **_EMBEDDING,
        **_PROJECTION,
        **_QUEUE,
        "edges": "edge_detector",
        "mask_own": "own_key_mask_prob",
        "alone": "mining_start",
        "sketches": "sketch_contrast",
    },
    "crossmodal": {**_EMBEDDING, "edges": "edge_detector", "hardness": "hard_negative_beta"},
    "dcl": {**_TWO_VIEWS, **_PROJECTION},
    "dino": {
        **_TWO_VIEWS,
        "held": "freeze_prototypes",
        "student": "student_temp",
        "teacher": "teacher_temp",
        "teacher_start": "warmup_teacher_temp",
        "teacher_warmup": "teacher_temp_warmup",
        "centre": "center_momentum",
        "hidden": "hidden_dim",
        "bottleneck": "bottleneck_dim",
        "local": "n_local_crops",
    },
    "doodle2search": _DOODLE2SEARCH,
    "labelfree": _SELFLABEL,
    "moco": {**_TWO_VIEWS, **_PROJECTION, **_QUEUE},
    "multimodal": {
        **_TEXT,
        "code": "embedding_dim",
        "dropout": "modality_dropout",
        "calibration": "calibration_fraction",
    },
    "nnclr": {**_TWO_VIEWS, **_PROJECTION, **_QUEUE},
    "prototype1": _DOODLE2SEARCH,
    "prototype2": _TEXT,
    "prototype3": _TEXT,
    "prototype4": _TEXT,
    "prototype5": _SAKE,
    "sake": _SAKE,
    "selflabel": _SELFLABEL,
    "simclr": {**_TWO_VIEWS, **_PROJECTION},
    "simsiam": {**_TWO_VIEWS, **_PROJECTION, "bottleneck": "hidden_dim"},
    "swav": {
        **_TWO_VIEWS,
        **_PROJECTION,
        **_QUEUE,
        "held": "freeze_prototypes",
        "epsilon": "sinkhorn_epsilon",
        "local": "n_local_crops",
    },
    "ucdir": {
        **_EMBEDDING,
        "groups": "num_clusters",
        "sharpness": "entropy_temperature",
        "sureness": "confidence_threshold",
        "instances": "instance_weight",
        "clusters": "cluster_weight",
        "entropy": "entropy_weight",
        "distances": "distance_weight",
        "begin": "cluster_start",
        "whole": "all_terms_start",
    },
    "vicreg": {**_TWO_VIEWS, **_PROJECTION},
}


def renamed_settings(recipe: str) -> dict[str, str]:
    """The keys that a recipe's settings had in version 0.1.0, each with its present name.

    Args:
        recipe: its name; for a recipe of another package or file, the renamed keys that all recipes have.
    """
    return {**_EVERYWHERE, **_BY_RECIPE.get(recipe, {})}


def find_renamed_keys(recipe: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The keys among nested settings that are renamed, each with its present name."""
    return {old: new for old, new in renamed_settings(recipe).items() if _has_key(settings, old.split("."))}


def translate_settings(recipe: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings of a run of any version under their present names, in the same order."""
    return _rename_keys(settings, renamed_settings(recipe), "")


def _has_key(settings: Mapping[str, Any], path: list[str]) -> bool:
    inner = settings.get(path[0])
    return path[0] in settings if len(path) == 1 else isinstance(inner, Mapping) and _has_key(inner, path[1:])


def _rename_keys(settings: Mapping[str, Any], names: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {
        names.get(f"{prefix}{key}", key).rpartition(".")[2]: (
            _rename_keys(value, names, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        )
        for key, value in settings.items()
    }
