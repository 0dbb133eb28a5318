"""What class names mean: class similarity and relations between classes, by WordNet, ConceptNet, vectors and others."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.semantics.candidate_names import imagenet_names as imagenet_names
    from ssl_sbir.semantics.load_source import SEMANTICS_KINDS as SEMANTICS_KINDS
    from ssl_sbir.semantics.load_source import load_semantics as load_semantics
    from ssl_sbir.semantics.similarity_source import ConceptPath as ConceptPath
    from ssl_sbir.semantics.similarity_source import Resolution as Resolution
    from ssl_sbir.semantics.similarity_source import Semantics as Semantics
    from ssl_sbir.semantics.similarity_source import describe_resolutions as describe_resolutions
    from ssl_sbir.semantics.unseen_guard import forbid_unseen_classes as forbid_unseen_classes

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "candidate_names": ("imagenet_names",),
        "load_source": (
            "SEMANTICS_KINDS",
            "load_semantics",
        ),
        "similarity_source": (
            "ConceptPath",
            "Resolution",
            "Semantics",
            "describe_resolutions",
        ),
        "unseen_guard": ("forbid_unseen_classes",),
    },
)
