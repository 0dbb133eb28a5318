"""Hugging Face vision models as encoders: ViT, DINOv2, CLIP's and SigLIP's image side, ResNet, ConvNeXt."""

import inspect
import math
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.encoders.backbone import check_own_size
from ssl_sbir.encoders.classifying import ClassifyingEncoder
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.hub_files import check_patch_multiple
from ssl_sbir.encoders.huggingface_classifier import keep_image_classifier
from ssl_sbir.encoders.huggingface_sources import (
    build_vision_model,
    has_text_tower,
    load_image_processor,
    load_model_config,
    load_vision_model,
    preprocess_from_config,
    select_vision_config,
    vision_model_error,
)
from ssl_sbir.encoders.text_encoder import TextEncoder
from ssl_sbir.encoders.text_transformer import transformer_text_encoder
from ssl_sbir.encoders.timm_models import tokens_to_grid
from ssl_sbir.encoders.transformers_models import check_source_reachable


class HuggingFaceEncoder(ClassifyingEncoder):
    """A transformers vision model.

    Its feature is CLIP's projected image embedding, SigLIP's attention pool, the class token if there is one, or
    the mean. Its map holds the patch tokens (CLIP's through the same projection) or is the last convolutional map.

    Args:
        spec: rebuilds the architecture.
        preprocess: that of the weights' training.
        model: gives `last_hidden_state`.
        text_tower: the repository or folder of the text tower that was trained with it, if there is one.
    """

    def __init__(
        self, spec: dict[str, Any], preprocess: Preprocess, model: Any, text_tower: str = ""
    ) -> None:
        config = model.config
        width = getattr(config, "projection_dim", 0) if hasattr(model, "visual_projection") else 0
        super().__init__(spec, preprocess, width or _hidden_width(config))
        self.model: Any = model
        self._text_tower = text_tower
        takes = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        native = getattr(config, "image_size", preprocess.size)
        self.forward_options = (
            {"interpolate_pos_encoding": True} if takes and native != preprocess.size else {}
        )

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Patch tokens or the last map, [b, width, rows, columns]; the domain is ignored."""
        del domain
        last = self._model_output(image).last_hidden_state
        if last.ndim == 4:
            return last
        rows, columns = self._patch_grid(image, last)
        tokens = last[:, last.shape[1] - rows * columns :]
        return tokens_to_grid(self._project_tokens(tokens), rows / columns)

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width]; the domain is ignored."""
        del domain
        output = self._model_output(image)
        if hasattr(self.model, "visual_projection"):
            return output.image_embeds
        if type(self.model).__name__ == "SiglipVisionModel":
            return output.pooler_output
        last = output.last_hidden_state
        if last.ndim == 4:
            return last.mean((2, 3))
        rows, columns = self._patch_grid(image, last)
        return last[:, 0] if last.shape[1] > rows * columns else last.mean(1)

    def load_own_text_encoder(self, device: str = "cpu") -> TextEncoder | None:
        """The text tower of the repository or folder that these weights come from; None without one."""
        if not self._text_tower:
            return None
        return transformer_text_encoder(self._text_tower, f"hf:{self._text_tower}", device=device)

    @property
    def text_source(self) -> str:
        """With CLIP's or SigLIP's text tower "own", else as for any encoder with a classifier."""
        return "own" if self._text_tower else super().text_source

    def _model_output(self, image: Tensor) -> Any:
        return self.model(pixel_values=self.normalize_image(image), **self.forward_options)

    def _patch_grid(self, image: Tensor, last: Tensor) -> tuple[int, int]:
        """Rows and columns of patches; a hierarchical model has fewer than there were at its first stage."""
        patch = self.model.config.patch_size
        patch = patch if isinstance(patch, int) else patch[0]
        rows, columns = image.shape[2] // patch, image.shape[3] // patch
        if rows * columns <= last.shape[1]:
            return rows, columns
        step = round(math.sqrt(rows * columns / last.shape[1]))
        return -(-rows // step), -(-columns // step)

    def _project_tokens(self, tokens: Tensor) -> Tensor:
        if not hasattr(self.model, "visual_projection"):
            return tokens
        return self.model.visual_projection(self.model.vision_model.post_layernorm(tokens))


def _hidden_width(config: Any) -> int:
    sizes = getattr(config, "hidden_sizes", None)
    return sizes[-1] if sizes else config.hidden_size


def huggingface_encoder(name: str, *, size: int | None = None, pretrained: bool = True) -> Encoder:
    """The vision model of a Hugging Face repository or a local folder; weights from safetensors only.

    Mean, std and size come from its preprocessor_config.json if there is one.

    Raises:
        EncoderError: there is no such model here or on the hub, it is no vision model, it has no safetensors, or the
            size is wrong.
    """
    try:
        check_source_reachable(name)
        config, processor = load_model_config(name), load_image_processor(name)
        vision = select_vision_config(config)
        model = load_vision_model(name, vision) if pretrained else build_vision_model(vision)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise vision_model_error(name, error) from error
    preprocess = preprocess_from_config(vision, processor, size)
    text_tower = name if pretrained and has_text_tower(config) else ""
    encoder = _wrap_huggingface_model(name, model, preprocess, text_tower)
    if pretrained:
        keep_image_classifier(encoder, name, config, encoder.forward_options)
    return encoder


def huggingface_encoder_from_spec(spec: dict[str, Any]) -> Encoder:
    """The architecture described by a `huggingface` spec, with random weights; needs no network."""
    from transformers import AutoConfig

    facts = dict(spec["config"])
    config = AutoConfig.for_model(facts.pop("model_type"), **facts)
    return _wrap_huggingface_model(
        spec["model"], build_vision_model(config), Preprocess.from_facts(spec["preprocess"])
    )


def _wrap_huggingface_model(
    name: str, model: Any, preprocess: Preprocess, text_tower: str = ""
) -> HuggingFaceEncoder:
    spec = {
        "kind": "huggingface",
        "model": Path(name).name if Path(name).is_dir() else name,
        "config": model.config.to_diff_dict() | {"model_type": model.config.model_type},
        "preprocess": preprocess.facts(),
    }
    if not hasattr(model.config, "depths"):  # stages that halve the map pad it themselves
        check_patch_multiple(f"hf:{name}", preprocess.size, getattr(model.config, "patch_size", 1))
    encoder = HuggingFaceEncoder(spec, preprocess, model, text_tower)
    native = getattr(model.config, "image_size", 224)
    check_own_size(encoder, f"hf:{name}", native)
    return encoder
