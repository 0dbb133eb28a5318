"""What class names mean: how alike they are and how they hang together, by WordNet, ConceptNet, vectors and others."""

from ssl_sbir.semantics.candidate_names import imagenet_names
from ssl_sbir.semantics.load_source import SEMANTICS_KINDS, load_semantics
from ssl_sbir.semantics.similarity_source import ConceptPath, Resolution, Semantics, describe_resolutions
from ssl_sbir.semantics.unseen_guard import forbid_unseen_classes

__all__ = [
    "SEMANTICS_KINDS",
    "ConceptPath",
    "Resolution",
    "Semantics",
    "describe_resolutions",
    "forbid_unseen_classes",
    "imagenet_names",
    "load_semantics",
]
