"""timm's models as timm makes them, with weights from its hub, from a file or from elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from ssl_sbir.encoders.hub import in_hf_cache, in_torch_hub, no_weights, offline, unfit, unreachable
from ssl_sbir.errors import EncoderError
from ssl_sbir.registry import did_you_mean

Source = bool | Path | Callable[[nn.Module], None]


def pretrained_facts(name: str) -> Any:
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
    facts = get_pretrained_cfg(name) if tag in ("", *_tags(bare)) else None
    if facts is None:
        raise EncoderError(
            f"timm's {bare} has no weights '{tag}'.{did_you_mean(tag, _tags(bare))}",
            f"It has: {', '.join(_tags(bare)) or 'none'}.",
        )
    return facts


def _tags(bare: str) -> list[str]:
    return [found.partition(".")[2] for found in timm.list_pretrained(f"{bare}.*")]


def created(name: str, size: int, pretrained: Source, asked: str, fixed: bool) -> Any:
    """timm's model, filled; `asked` is the name errors mention, `fixed` whether it's made for one image size.

    Raises:
        EncoderError: weights that can't be had or don't fit, or a size the model doesn't take.
    """
    # Only models with position embeddings take, and need, the size when they are made.
    options: dict[str, Any] = {"img_size": size} if fixed else {}
    if isinstance(pretrained, Path):
        options["pretrained_cfg_overlay"] = {"file": str(_checked_file(pretrained, asked))}
    elif pretrained is True:
        _check_reachable(name, asked)
    try:
        model = timm.create_model(
            name, pretrained=pretrained is True or isinstance(pretrained, Path), **options
        )
    except (OSError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise _cause(name, size, pretrained, asked, error) from error
    if callable(pretrained):
        pretrained(model)
    return model


def _check_reachable(name: str, asked: str) -> None:
    facts = pretrained_facts(name)
    if not (facts.hf_hub_id or facts.url or facts.file):
        raise EncoderError(
            f"encoder '{asked}': timm has no weights for it",
            f"Give a file ({asked}@weights.safetensors) or --set encoder.pretrained=false.",
        )
    here = in_hf_cache(facts.hf_hub_id) if facts.hf_hub_id else in_torch_hub(facts.url)
    if not here and (offline() or (facts.hf_hub_id and unreachable())):
        raise no_weights(asked, facts, OSError("no network"))


def _cause(name: str, size: int, pretrained: Source, asked: str, error: Exception) -> EncoderError:
    if isinstance(pretrained, Path):
        return EncoderError(
            f"{pretrained} doesn't fit {name}: {_line(error)}", "Give the weights of that very model."
        )
    if pretrained and isinstance(error, OSError | RuntimeError):
        return no_weights(asked, pretrained_facts(name), error)
    return unfit(asked, size, pretrained_facts(name).input_size[-1], error)


def _checked_file(path: Path, asked: str) -> Path:
    if path.is_file() and path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
        return path
    found = "is not a .safetensors or .pth file" if path.exists() else "does not exist"
    raise EncoderError(f"encoder '{asked}': {path} {found}", "Give the file of the weights after the '@'.")


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
