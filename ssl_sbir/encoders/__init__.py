"""Image encoders: pixels in 0..1 and a domain in, features and feature maps out."""

from ssl_sbir.encoders.composed import (
    DomainCentredEncoder,
    ProjectedEncoder,
    TwoTowerEncoder,
    has_towers,
    to_two_towers,
)
from ssl_sbir.encoders.domain_conditioned import DomainConditionedEncoder
from ssl_sbir.encoders.domain_heads import DomainHeadsEncoder
from ssl_sbir.encoders.domain_norms import DomainNormEncoder
from ssl_sbir.encoders.doodle2search_layers import EdgeAugmentedEncoder, SpatialAttentionEncoder
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.export import load_exported, save_encoder
from ssl_sbir.encoders.listing import EncoderInfo, encoder_table
from ssl_sbir.encoders.load import encoder_registry, load_encoder
from ssl_sbir.encoders.rebuild import encoder_from_spec
from ssl_sbir.encoders.text_encoder import (
    TextEncoder,
    TokenizationReport,
    load_text_encoder,
    text_encoder_registry,
)

__all__ = [
    "DomainCentredEncoder",
    "DomainConditionedEncoder",
    "DomainHeadsEncoder",
    "DomainNormEncoder",
    "EdgeAugmentedEncoder",
    "Encoder",
    "EncoderInfo",
    "Preprocess",
    "ProjectedEncoder",
    "SpatialAttentionEncoder",
    "TextEncoder",
    "TokenizationReport",
    "TwoTowerEncoder",
    "encoder_from_spec",
    "encoder_registry",
    "encoder_table",
    "has_towers",
    "load_encoder",
    "load_exported",
    "load_text_encoder",
    "save_encoder",
    "text_encoder_registry",
    "to_two_towers",
]
