"""Image encoders: pixels in 0..1 and a domain in, features and feature maps out."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.encoders.class_vocabulary import ClassVocabulary as ClassVocabulary
    from ssl_sbir.encoders.class_vocabulary import embed_vocabulary as embed_vocabulary
    from ssl_sbir.encoders.class_vocabulary import imagenet_vocabulary as imagenet_vocabulary
    from ssl_sbir.encoders.class_vocabulary import read_vocabulary_file as read_vocabulary_file
    from ssl_sbir.encoders.composed import DomainCentredEncoder as DomainCentredEncoder
    from ssl_sbir.encoders.composed import ProjectedEncoder as ProjectedEncoder
    from ssl_sbir.encoders.composed import TwoTowerEncoder as TwoTowerEncoder
    from ssl_sbir.encoders.composed import has_towers as has_towers
    from ssl_sbir.encoders.composed import to_two_towers as to_two_towers
    from ssl_sbir.encoders.domain_conditioned import DomainConditionedEncoder as DomainConditionedEncoder
    from ssl_sbir.encoders.domain_heads import DomainHeadsEncoder as DomainHeadsEncoder
    from ssl_sbir.encoders.domain_norms import DomainNormEncoder as DomainNormEncoder
    from ssl_sbir.encoders.doodle2search_layers import EdgeAugmentedEncoder as EdgeAugmentedEncoder
    from ssl_sbir.encoders.doodle2search_layers import SpatialAttentionEncoder as SpatialAttentionEncoder
    from ssl_sbir.encoders.encoder import Encoder as Encoder
    from ssl_sbir.encoders.encoder import Preprocess as Preprocess
    from ssl_sbir.encoders.export import load_exported as load_exported
    from ssl_sbir.encoders.export import save_encoder as save_encoder
    from ssl_sbir.encoders.listing import EncoderInfo as EncoderInfo
    from ssl_sbir.encoders.listing import encoder_table as encoder_table
    from ssl_sbir.encoders.load import encoder_registry as encoder_registry
    from ssl_sbir.encoders.load import load_encoder as load_encoder
    from ssl_sbir.encoders.load_text import load_text_encoder as load_text_encoder
    from ssl_sbir.encoders.load_text import text_encoder_registry as text_encoder_registry
    from ssl_sbir.encoders.rebuild import encoder_from_spec as encoder_from_spec
    from ssl_sbir.encoders.text_encoder import TextEncoder as TextEncoder
    from ssl_sbir.encoders.text_encoder import TokenizationReport as TokenizationReport

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "class_vocabulary": (
            "ClassVocabulary",
            "embed_vocabulary",
            "imagenet_vocabulary",
            "read_vocabulary_file",
        ),
        "composed": (
            "DomainCentredEncoder",
            "ProjectedEncoder",
            "TwoTowerEncoder",
            "has_towers",
            "to_two_towers",
        ),
        "domain_conditioned": ("DomainConditionedEncoder",),
        "domain_heads": ("DomainHeadsEncoder",),
        "domain_norms": ("DomainNormEncoder",),
        "doodle2search_layers": (
            "EdgeAugmentedEncoder",
            "SpatialAttentionEncoder",
        ),
        "encoder": (
            "Encoder",
            "Preprocess",
        ),
        "export": (
            "load_exported",
            "save_encoder",
        ),
        "listing": (
            "EncoderInfo",
            "encoder_table",
        ),
        "load": (
            "encoder_registry",
            "load_encoder",
        ),
        "load_text": (
            "load_text_encoder",
            "text_encoder_registry",
        ),
        "rebuild": ("encoder_from_spec",),
        "text_encoder": (
            "TextEncoder",
            "TokenizationReport",
        ),
    },
)
