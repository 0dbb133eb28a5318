"""Architectures rebuilt from their specs, the `config.json` of an exported encoder."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ssl_sbir.encoders.composed import DomainCentredEncoder, ProjectedEncoder, TwoTowerEncoder
from ssl_sbir.encoders.domain_conditioned import DomainConditionedEncoder
from ssl_sbir.encoders.domain_heads import DomainHeadsEncoder
from ssl_sbir.encoders.domain_norms import DomainNormEncoder
from ssl_sbir.encoders.doodle2search_layers import EdgeAugmentedEncoder, SpatialAttentionEncoder
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.huggingface import huggingface_encoder_from_spec
from ssl_sbir.encoders.teacher_beside import teacher_beside_from_parts
from ssl_sbir.encoders.timm_models import timm_encoder_from_spec
from ssl_sbir.encoders.torchvision_models import torchvision_encoder_from_spec
from ssl_sbir.registry import Registry

SpecBuilder = Callable[[dict[str, Any]], Encoder]

encoder_kinds: Registry[SpecBuilder] = Registry(
    "kind of encoder", "ssl-sbir encoders", "ssl_sbir.encoder_kinds"
)
encoder_kinds.register("timm")(timm_encoder_from_spec)
encoder_kinds.register("torchvision")(torchvision_encoder_from_spec)
encoder_kinds.register("huggingface")(huggingface_encoder_from_spec)


def encoder_from_spec(spec: dict[str, Any]) -> Encoder:
    """The architecture described by an encoder's `spec`, with random weights.

    Raises:
        ConfigError: its kind is unknown.
        EncoderError: there is no encoder of that name or size.
        KeyError, TypeError, ValueError: the spec is damaged.
    """
    return encoder_kinds.get(spec["kind"])(spec)


@encoder_kinds.register("projected")
def _build_projected(spec: dict[str, Any]) -> Encoder:
    inner = encoder_from_spec(spec["encoder"])
    return ProjectedEncoder(inner, nn.Linear(inner.width, spec["width"], bias=spec["bias"]))


@encoder_kinds.register("centred")
def _build_domain_centred(spec: dict[str, Any]) -> Encoder:
    return DomainCentredEncoder(encoder_from_spec(spec["encoder"]), spec["momentum"])


@encoder_kinds.register("headed")
def _build_domain_heads(spec: dict[str, Any]) -> Encoder:
    return DomainHeadsEncoder(encoder_from_spec(spec["encoder"]), spec["width"])


@encoder_kinds.register("domain_normed")
def _build_domain_norm(spec: dict[str, Any]) -> Encoder:
    return DomainNormEncoder(encoder_from_spec(spec["encoder"]))


@encoder_kinds.register("towers")
def _build_two_tower(spec: dict[str, Any]) -> Encoder:
    return TwoTowerEncoder(encoder_from_spec(spec["sketch"]), encoder_from_spec(spec["photo"]))


@encoder_kinds.register("conditioned")
def _build_domain_conditioned(spec: dict[str, Any]) -> Encoder:
    return DomainConditionedEncoder(encoder_from_spec(spec["encoder"]), spec["where"])


@encoder_kinds.register("attended")
def _build_spatial_attention(spec: dict[str, Any]) -> Encoder:
    return SpatialAttentionEncoder(encoder_from_spec(spec["encoder"]))


@encoder_kinds.register("edged")
def _build_edge_augmented(spec: dict[str, Any]) -> Encoder:
    return EdgeAugmentedEncoder(encoder_from_spec(spec["encoder"]))


@encoder_kinds.register("beside")
def _build_teacher_beside(spec: dict[str, Any]) -> Encoder:
    return teacher_beside_from_parts(
        spec, encoder_from_spec(spec["encoder"]), encoder_from_spec(spec["teacher"])
    )
