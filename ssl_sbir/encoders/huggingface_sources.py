"""Hugging Face vision models as transformers makes them: configuration, weights, preprocessing."""

from pathlib import Path
from typing import Any

from torch import nn

from ssl_sbir.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Preprocess, rgb
from ssl_sbir.encoders.hub import OTHERWISE, in_hf_cache, offline, unreachable
from ssl_sbir.errors import EncoderError

# Image towers of models that also read text. CLIP's projects into the space its sentences live in.
TOWERS = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}


def vision_config_of(name: str) -> Any:
    """The configuration of the image side of a model of that name."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, local_files_only=offline(), trust_remote_code=False)
    if not hasattr(config, "vision_config"):
        return config
    vision = config.vision_config
    if hasattr(config, "projection_dim"):  # CLIP says it once for both sides
        vision.projection_dim = config.projection_dim
    return vision


def _model_class(config: Any) -> Any:
    import transformers

    if config.model_type in TOWERS:
        return getattr(transformers, TOWERS[config.model_type])
    if type(config) not in transformers.MODEL_MAPPING or not _sees(config):
        raise ValueError(f"'{config.model_type}' is no vision model")
    return transformers.MODEL_MAPPING[type(config)]


def _sees(config: Any) -> bool:
    return hasattr(config, "num_channels") and (
        hasattr(config, "hidden_size") or hasattr(config, "hidden_sizes")
    )


def made(config: Any) -> nn.Module:
    """The vision model that a configuration describes, with random weights."""
    return _without_pooler(_model_class(config)(config))


def filled(name: str, config: Any) -> nn.Module:
    """The vision model with the weights of that name, from safetensors only.

    Raises:
        ValueError: it is no vision model, or tensors are missing.
    """
    from transformers.utils import logging

    spoken = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists every tensor of the text side that isn't wanted
    try:
        model, report = _model_class(config).from_pretrained(
            name, config=config, use_safetensors=True, local_files_only=offline(), output_loading_info=True
        )
    finally:
        logging.set_verbosity(spoken)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    return _without_pooler(model)


def _without_pooler(model: Any) -> nn.Module:
    """The model without a trained pooler: the class token is the feature, so it would only lie idle."""
    pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        model.pooler = None
    return model


def image_processor_of(name: str) -> dict[str, Any]:
    """What preprocessor_config.json says; empty where there is none."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        facts, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=offline())
    except OSError:  # a model without one
        return {}
    return dict(facts)


def preprocess_of(config: Any, processor: dict[str, Any], size: int | None) -> Preprocess:
    """Size, mean and std as the image processor states them, else as the configuration does."""
    stated = _side(processor.get("crop_size")) or _side(processor.get("size"))
    native = stated or int(getattr(config, "image_size", 224))
    plain = processor.get("do_normalize") is False
    mean = (0.0, 0.0, 0.0) if plain else rgb(processor.get("image_mean", IMAGENET_MEAN))
    std = (1.0, 1.0, 1.0) if plain else rgb(processor.get("image_std", IMAGENET_STD))
    return Preprocess(size or native, mean, std)


def _side(facts: int | dict[str, int] | None) -> int | None:
    if isinstance(facts, dict):
        return facts.get("height") or facts.get("shortest_edge")
    return facts


def check_reachable(name: str) -> None:
    """Refuses a repository that is neither in the cache nor reachable.

    Raises:
        EncoderError: says what to do.
    """
    if not Path(name).is_dir() and not in_hf_cache(name) and unreachable():
        raise unloaded(name, OSError("no network"))


def unloaded(name: str, error: Exception) -> EncoderError:
    """Says why a model can't be loaded, and what to do."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    where = "folder" if Path(name).is_dir() else "repository"
    return EncoderError(
        f"encoder 'hf:{name}': the {where} can't be loaded ({line})",
        f"Give hf:FOLDER with config.json and model.safetensors of a vision model (fetch them from "
        f"https://huggingface.co/NAME where there is a network). {OTHERWISE}",
    )
