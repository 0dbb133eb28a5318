"""What class names mean: how alike they are and how they hang together, by WordNet, ConceptNet, vectors and others."""

from ssl_sbir.semantics.guard import without
from ssl_sbir.semantics.loading import KINDS, load_semantics
from ssl_sbir.semantics.names import imagenet_names
from ssl_sbir.semantics.source import ConceptPath, Resolution, Semantics, told

__all__ = [
    "KINDS",
    "ConceptPath",
    "Resolution",
    "Semantics",
    "imagenet_names",
    "load_semantics",
    "told",
    "without",
]
