"""Image encoders: pixels in 0..1 and a domain in, features and feature maps out."""

from ssl_sbir.encoders.added import Attended, Edged
from ssl_sbir.encoders.conditional import DomainConditioned
from ssl_sbir.encoders.domain_heads import DomainHeads
from ssl_sbir.encoders.domain_norms import DomainNormed
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.export import load_exported, save_encoder
from ssl_sbir.encoders.heads import Centred, Projected, Towers, has_towers, separated
from ssl_sbir.encoders.loading import encoders, load_encoder
from ssl_sbir.encoders.specs import encoder_from_spec
from ssl_sbir.encoders.table import EncoderInfo, encoder_table
from ssl_sbir.encoders.text import Reading, TextEncoder, load_text_encoder, text_encoders

__all__ = [
    "Attended",
    "Centred",
    "DomainConditioned",
    "DomainHeads",
    "DomainNormed",
    "Edged",
    "Encoder",
    "EncoderInfo",
    "Preprocess",
    "Projected",
    "Reading",
    "TextEncoder",
    "Towers",
    "encoder_from_spec",
    "encoder_table",
    "encoders",
    "has_towers",
    "load_encoder",
    "load_exported",
    "load_text_encoder",
    "save_encoder",
    "separated",
    "text_encoders",
]
