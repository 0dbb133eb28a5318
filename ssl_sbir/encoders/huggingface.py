"""Hugging Face vision models as encoders: ViT, DINOv2, CLIP's and SigLIP's image side, ResNet, ConvNeXt."""

import inspect
import math
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.encoders.backbone import fits
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.hub import OTHERWISE, in_hf_cache, offline, unfit, unreachable
from ssl_sbir.encoders.timm_models import grid_of
from ssl_sbir.errors import EncoderError

# Image towers of models that also read text. CLIP's projects into the space its sentences live in.
TOWERS = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}


class HuggingFaceEncoder(Encoder):
    """A transformers vision model.

    Its feature is CLIP's projected image embedding, SigLIP's attention pool, the class token where there is
    one, and else the mean. Its map holds the patch tokens (CLIP's through the same projection) or the last
    convolutional map.
    """

    def __init__(self, spec: dict[str, Any], preprocess: Preprocess, model: nn.Module) -> None:
        config = model.config
        width = getattr(config, "projection_dim", 0) if hasattr(model, "visual_projection") else 0
        super().__init__(spec, preprocess, width or _hidden(config))
        self.model = model
        takes = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        native = getattr(config, "image_size", preprocess.size)
        self._options = {"interpolate_pos_encoding": True} if takes and native != preprocess.size else {}

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Patch tokens or the last map, [b, width, rows, columns]; the domain makes no difference."""
        del domain
        last = self._output(image).last_hidden_state
        if last.ndim == 4:
            return last
        rows, columns = self._grid(image, last)
        tokens = last[:, last.shape[1] - rows * columns :]
        return grid_of(self._projected(tokens), rows / columns)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width]; the domain makes no difference."""
        del domain
        output = self._output(image)
        if hasattr(self.model, "visual_projection"):
            return output.image_embeds
        if type(self.model).__name__ == "SiglipVisionModel":
            return output.pooler_output
        last = output.last_hidden_state
        if last.ndim == 4:
            return last.mean((2, 3))
        rows, columns = self._grid(image, last)
        return last[:, 0] if last.shape[1] > rows * columns else last.mean(1)

    def _output(self, image: Tensor) -> Any:
        return self.model(pixel_values=self.normalised(image), **self._options)

    def _grid(self, image: Tensor, last: Tensor) -> tuple[int, int]:
        """Rows and columns of patches; a hierarchical model has fewer than its first patches."""
        patch = self.model.config.patch_size
        patch = patch if isinstance(patch, int) else patch[0]
        rows, columns = image.shape[2] // patch, image.shape[3] // patch
        if rows * columns <= last.shape[1]:
            return rows, columns
        step = round(math.sqrt(rows * columns / last.shape[1]))
        return -(-rows // step), -(-columns // step)

    def _projected(self, tokens: Tensor) -> Tensor:
        if not hasattr(self.model, "visual_projection"):
            return tokens
        return self.model.visual_projection(self.model.vision_model.post_layernorm(tokens))


def _hidden(config: Any) -> int:
    sizes = getattr(config, "hidden_sizes", None)
    return sizes[-1] if sizes else config.hidden_size


def huggingface_encoder(name: str, *, size: int | None = None, pretrained: bool = True) -> Encoder:
    """The vision model of a Hugging Face repository or a local folder; weights from safetensors only.

    Mean, std and size come from its preprocessor_config.json where there is one.

    Raises:
        EncoderError: nothing of that name here or on the hub, no vision model, no safetensors, or a bad size.
    """
    _check_reachable(name)
    try:
        config, processor = _config(name), _processor(name)
        model = _model_class(config).from_pretrained(name, **_source()) if pretrained else _made(config)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _unloaded(name, error) from error
    preprocess = _preprocess(config, processor, size)
    return _around(name, model, preprocess)


def rebuilt_huggingface(spec: dict[str, Any]) -> Encoder:
    """The architecture that a `huggingface` spec describes, with random weights; needs no network."""
    from transformers import AutoConfig

    facts = dict(spec["config"])
    config = AutoConfig.for_model(facts.pop("model_type"), **facts)
    return _around(spec["model"], _made(config), Preprocess.of(spec["preprocess"]))


def _around(name: str, model: nn.Module, preprocess: Preprocess) -> Encoder:
    spec = {
        "kind": "huggingface",
        "model": Path(name).name if Path(name).is_dir() else name,
        "config": model.config.to_diff_dict() | {"model_type": model.config.model_type},
        "preprocess": preprocess.facts(),
    }
    encoder = HuggingFaceEncoder(spec, preprocess, model)
    native = getattr(model.config, "image_size", 224)
    try:
        fits(encoder)
    except (RuntimeError, ValueError) as error:
        raise unfit(f"hf:{name}", preprocess.size, native, error) from error
    return encoder


def _config(name: str) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, local_files_only=offline())
    return config.vision_config if hasattr(config, "vision_config") else config


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


def _made(config: Any) -> nn.Module:
    return _model_class(config)(config)


def _source() -> dict[str, Any]:
    return {"use_safetensors": True, "local_files_only": offline()}


def _processor(name: str) -> dict[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        facts, _ = ImageProcessingMixin.get_image_processor_dict(name, local_files_only=offline())
    except OSError:  # a model without one
        return {}
    return dict(facts)


def _preprocess(config: Any, processor: dict[str, Any], size: int | None) -> Preprocess:
    stated = (
        _side(processor.get("crop_size"))
        or _side(processor.get("size"))
        or getattr(config, "image_size", 224)
    )
    plain = processor.get("do_normalize") is False
    mean = (0.0, 0.0, 0.0) if plain else tuple(processor.get("image_mean", Preprocess(1).mean))
    std = (1.0, 1.0, 1.0) if plain else tuple(processor.get("image_std", Preprocess(1).std))
    return Preprocess(size or stated, mean, std)


def _side(facts: int | dict[str, int] | None) -> int | None:
    if isinstance(facts, dict):
        return facts.get("height") or facts.get("shortest_edge")
    return facts


def _check_reachable(name: str) -> None:
    if not Path(name).is_dir() and not offline() and not in_hf_cache(name) and unreachable():
        raise _unloaded(name, OSError("the hub can't be reached"))


def _unloaded(name: str, error: Exception) -> EncoderError:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    where = "folder" if Path(name).is_dir() else "repository"
    return EncoderError(
        f"encoder 'hf:{name}': the {where} can't be loaded ({line})",
        f"Give hf:FOLDER with config.json and model.safetensors of a vision model (fetch them from "
        f"https://huggingface.co/NAME where there is a network). {OTHERWISE}",
    )
