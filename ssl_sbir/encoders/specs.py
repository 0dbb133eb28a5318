"""Architectures rebuilt from their specs: what `config.json` of an exported encoder says."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ssl_sbir.encoders.added import Attended, Edged
from ssl_sbir.encoders.conditional import DomainConditioned
from ssl_sbir.encoders.domain_heads import DomainHeads
from ssl_sbir.encoders.domain_norms import DomainNormed
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.heads import Centred, Projected, Towers
from ssl_sbir.encoders.huggingface import rebuilt_huggingface
from ssl_sbir.encoders.timm_models import rebuilt_timm
from ssl_sbir.encoders.torchvision_models import rebuilt_torchvision
from ssl_sbir.registry import Registry

Rebuild = Callable[[dict[str, Any]], Encoder]

kinds: Registry[Rebuild] = Registry("kind of encoder", "ssl-sbir encoders", "ssl_sbir.encoder_kinds")
kinds.register("timm")(rebuilt_timm)
kinds.register("torchvision")(rebuilt_torchvision)
kinds.register("huggingface")(rebuilt_huggingface)


def encoder_from_spec(spec: dict[str, Any]) -> Encoder:
    """The architecture that `encoder.spec` describes, with random weights.

    Raises:
        ConfigError: its kind is unknown.
        EncoderError: an encoder of that name or size doesn't exist.
        KeyError, TypeError, ValueError: the spec is damaged.
    """
    return kinds.get(spec["kind"])(spec)


@kinds.register("projected")
def _projected(spec: dict[str, Any]) -> Encoder:
    inner = encoder_from_spec(spec["encoder"])
    return Projected(inner, nn.Linear(inner.width, spec["width"], bias=spec["bias"]))


@kinds.register("centred")
def _centred(spec: dict[str, Any]) -> Encoder:
    return Centred(encoder_from_spec(spec["encoder"]), spec["momentum"])


@kinds.register("headed")
def _headed(spec: dict[str, Any]) -> Encoder:
    return DomainHeads(encoder_from_spec(spec["encoder"]), spec["width"])


@kinds.register("domain_normed")
def _domain_normed(spec: dict[str, Any]) -> Encoder:
    return DomainNormed(encoder_from_spec(spec["encoder"]))


@kinds.register("towers")
def _towers(spec: dict[str, Any]) -> Encoder:
    return Towers(encoder_from_spec(spec["sketch"]), encoder_from_spec(spec["photo"]))


@kinds.register("conditioned")
def _conditioned(spec: dict[str, Any]) -> Encoder:
    return DomainConditioned(encoder_from_spec(spec["encoder"]), spec["where"])


@kinds.register("attended")
def _attended(spec: dict[str, Any]) -> Encoder:
    return Attended(encoder_from_spec(spec["encoder"]))


@kinds.register("edged")
def _edged(spec: dict[str, Any]) -> Encoder:
    return Edged(encoder_from_spec(spec["encoder"]))
