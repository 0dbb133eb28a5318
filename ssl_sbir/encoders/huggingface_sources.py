"""Hugging Face vision models as transformers makes them: configuration, weights, preprocessing."""

from pathlib import Path
from typing import Any

from torch import nn

from ssl_sbir.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Preprocess, to_rgb_tuple
from ssl_sbir.encoders.hub_files import FALLBACK_HINT, is_hub_unreachable, is_in_hf_cache, is_offline
from ssl_sbir.errors import EncoderError

# Image towers of models that also read text. CLIP's projects into the space its sentences live in.
VISION_MODEL_CLASSES = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}


def load_vision_config(name: str) -> Any:
    """The configuration of the image side of a model of that name."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, local_files_only=is_offline(), trust_remote_code=False)
    if not hasattr(config, "vision_config"):
        return config
    vision = config.vision_config
    if hasattr(config, "projection_dim"):  # CLIP says it once for both sides
        vision.projection_dim = config.projection_dim
    return vision


def _vision_model_class(config: Any) -> Any:
    import transformers

    if config.model_type in VISION_MODEL_CLASSES:
        return getattr(transformers, VISION_MODEL_CLASSES[config.model_type])
    if type(config) not in transformers.MODEL_MAPPING or not _is_vision_config(config):
        raise ValueError(f"'{config.model_type}' is no vision model")
    return transformers.MODEL_MAPPING[type(config)]


def _is_vision_config(config: Any) -> bool:
    return hasattr(config, "num_channels") and (
        hasattr(config, "hidden_size") or hasattr(config, "hidden_sizes")
    )


def build_vision_model(config: Any) -> nn.Module:
    """The vision model that a configuration describes, with random weights."""
    return _remove_pooler(_vision_model_class(config)(config))


def load_vision_model(name: str, config: Any) -> nn.Module:
    """The vision model with the weights of that name, from safetensors only.

    Raises:
        ValueError: it is no vision model, or tensors are missing.
    """
    from transformers.utils import logging

    spoken = logging.get_verbosity()
    logging.set_verbosity_error()  # it lists every tensor of the text side that isn't wanted
    try:
        model, report = _vision_model_class(config).from_pretrained(
            name, config=config, use_safetensors=True, local_files_only=is_offline(), output_loading_info=True
        )
    finally:
        logging.set_verbosity(spoken)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    return _remove_pooler(model)


def _remove_pooler(model: Any) -> nn.Module:
    """The model without a trained pooler: the class token is the feature, so it would only lie idle."""
    pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        model.pooler = None
    return model


def load_image_processor(name: str) -> dict[str, Any]:
    """What preprocessor_config.json says; empty where there is none."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        facts, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=is_offline())
    except OSError:  # a model without one
        return {}
    return dict(facts)


def preprocess_from_config(config: Any, processor: dict[str, Any], size: int | None) -> Preprocess:
    """Size, mean and std as the image processor states them, else as the configuration does."""
    stated = _image_side(processor.get("crop_size")) or _image_side(processor.get("size"))
    native = stated or int(getattr(config, "image_size", 224))
    plain = processor.get("do_normalize") is False
    mean = (0.0, 0.0, 0.0) if plain else to_rgb_tuple(processor.get("image_mean", IMAGENET_MEAN))
    std = (1.0, 1.0, 1.0) if plain else to_rgb_tuple(processor.get("image_std", IMAGENET_STD))
    return Preprocess(size or native, mean, std)


def _image_side(facts: int | dict[str, int] | None) -> int | None:
    if isinstance(facts, dict):
        return facts.get("height") or facts.get("shortest_edge")
    return facts


def check_repository_reachable(name: str) -> None:
    """Refuses a repository that is neither in the cache nor reachable.

    Raises:
        EncoderError: says what to do.
    """
    if not Path(name).is_dir() and not is_in_hf_cache(name) and is_hub_unreachable():
        raise vision_model_error(name, OSError("no network"))


def vision_model_error(name: str, error: Exception) -> EncoderError:
    """Says why a model can't be loaded, and what to do."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    where = "folder" if Path(name).is_dir() else "repository"
    return EncoderError(
        f"encoder 'hf:{name}': the {where} can't be loaded ({line})",
        f"Give hf:FOLDER with config.json and model.safetensors of a vision model (fetch them from "
        f"https://huggingface.co/NAME where there is a network). {FALLBACK_HINT}",
    )
