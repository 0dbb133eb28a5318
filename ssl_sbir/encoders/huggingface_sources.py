"""Hugging Face vision models as transformers builds them: configuration, weights, preprocessing."""

from typing import Any

from torch import nn

from ssl_sbir.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Preprocess, to_rgb_tuple
from ssl_sbir.encoders.hub_files import FALLBACK_HINT, first_error_line, is_offline
from ssl_sbir.encoders.transformers_models import describe_source, load_complete_model
from ssl_sbir.errors import EncoderError

# Image towers of models that also read text. CLIP's projects into the space of its sentences.
VISION_MODEL_CLASSES = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
TWO_SIDED_TYPES = ("clip", "siglip")


def load_model_config(name: str) -> Any:
    """The configuration of a model, with all of its sides."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(name, local_files_only=is_offline(), trust_remote_code=False)


def has_text_tower(config: Any) -> bool:
    """Whether a model has a text tower into the space of its images' features."""
    classifies = any(name.endswith("ForImageClassification") for name in config.architectures or ())
    return config.model_type in TWO_SIDED_TYPES and not classifies


def select_vision_config(config: Any) -> Any:
    """The part of a configuration that describes the image side."""
    if not hasattr(config, "vision_config"):
        return config
    vision = config.vision_config
    if hasattr(config, "projection_dim"):  # CLIP states it once for both sides
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
    return _remove_pooler(load_complete_model(_vision_model_class(config), name, config=config))


def _remove_pooler(model: Any) -> nn.Module:
    """The model without a trained pooler, which is unused: the class token is the feature."""
    pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters()):
        model.pooler = None
    return model


def load_image_processor(name: str) -> dict[str, Any]:
    """The contents of preprocessor_config.json; empty if there is none."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        facts, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=is_offline())
    except OSError:  # a model without one
        return {}
    return dict(facts)


def preprocess_from_config(config: Any, processor: dict[str, Any], size: int | None) -> Preprocess:
    """Size, mean and std as the image processor states them, else those of the configuration or of ImageNet."""
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


def vision_model_error(name: str, error: Exception) -> EncoderError:
    """Says why a model can't be loaded, and what to do."""
    return EncoderError(
        f"encoder 'hf:{name}': the {describe_source(name)} can't be loaded ({first_error_line(error)})",
        f"Give hf:FOLDER with config.json and model.safetensors of a vision model (fetch them from "
        f"https://huggingface.co/NAME where there is a network). {FALLBACK_HINT}",
    )
