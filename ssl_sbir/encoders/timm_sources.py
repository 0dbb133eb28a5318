"""timm's models, with weights from its hub, from a file or from a function."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from ssl_sbir.encoders.hub_files import (
    first_error_line,
    image_size_error,
    is_hub_unreachable,
    is_in_hf_cache,
    is_in_torch_hub,
    is_offline,
    missing_timm_weights_error,
)
from ssl_sbir.errors import EncoderError
from ssl_sbir.registry import did_you_mean

WeightsSource = bool | Path | Callable[[nn.Module], None]


def pretrained_config(name: str) -> Any:
    """timm's facts about a model's weights: input size, mean, std, source, licence.

    Raises:
        EncoderError: timm has no such model; suggests the closest name.
    """
    bare, _, tag = name.partition(".")
    if not timm.is_model(bare):
        raise EncoderError(
            f"timm has no model '{name}'.{did_you_mean(name, timm.list_models())}",
            "Names: python -c 'import timm; print(timm.list_models(\"*resnet*\"))'",
        )
    facts = get_pretrained_cfg(name) if tag in ("", *_pretrained_tags(bare)) else None
    if facts is None:
        raise EncoderError(
            f"timm's {bare} has no weights '{tag}'.{did_you_mean(tag, _pretrained_tags(bare))}",
            f"It has: {', '.join(_pretrained_tags(bare)) or 'none'}.",
        )
    return facts


def _pretrained_tags(bare: str) -> list[str]:
    return [found.partition(".")[2] for found in timm.list_pretrained(f"{bare}.*")]


def create_timm_model(
    name: str, size: int, pretrained: WeightsSource, encoder_name: str, fixed_size: bool
) -> Any:
    """timm's model with its weights.

    Args:
        name: as timm has it.
        size: image side in pixels.
        pretrained: where its weights come from; False for random ones.
        encoder_name: the name that errors mention.
        fixed_size: whether the model is built for one image size.

    Raises:
        EncoderError: the weights are unavailable or don't fit, or the model doesn't accept the size.
    """
    # Only models with position embeddings take, and need, the size when they are built.
    options: dict[str, Any] = {"img_size": size} if fixed_size else {}
    if isinstance(pretrained, Path):
        options["pretrained_cfg_overlay"] = {"file": str(_check_weights_file(pretrained, encoder_name))}
    elif pretrained is True:
        _check_weights_reachable(name, encoder_name)
    try:
        model = timm.create_model(
            name, pretrained=pretrained is True or isinstance(pretrained, Path), **options
        )
    except (OSError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise _creation_error(name, size, pretrained, encoder_name, error) from error
    if callable(pretrained):
        pretrained(model)
    return model


def _check_weights_reachable(name: str, encoder_name: str) -> None:
    facts = pretrained_config(name)
    if not (facts.hf_hub_id or facts.url or facts.file):
        raise EncoderError(
            f"encoder '{encoder_name}': timm has no weights for it",
            f"Give a file ({encoder_name}@weights.safetensors) or --set encoder.pretrained=false.",
        )
    cached = is_in_hf_cache(facts.hf_hub_id) if facts.hf_hub_id else is_in_torch_hub(facts.url)
    if not cached and (is_offline() or (facts.hf_hub_id and is_hub_unreachable())):
        raise missing_timm_weights_error(encoder_name, facts, OSError("no network"))


def _creation_error(
    name: str, size: int, pretrained: WeightsSource, encoder_name: str, error: Exception
) -> EncoderError:
    if isinstance(pretrained, Path):
        return EncoderError(
            f"{pretrained} doesn't fit {name}: {first_error_line(error)}",
            "Give weights of exactly that model.",
        )
    if pretrained and isinstance(error, OSError | RuntimeError):
        return missing_timm_weights_error(encoder_name, pretrained_config(name), error)
    return image_size_error(encoder_name, size, pretrained_config(name).input_size[-1], error)


def _check_weights_file(path: Path, encoder_name: str) -> Path:
    if path.is_file() and path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        return path
    problem = "is not a .safetensors or .pth file" if path.exists() else "does not exist"
    raise EncoderError(
        f"encoder '{encoder_name}': {path} {problem}", "Give the file of the weights after the '@'."
    )
