"""Any timm model as an encoder: a CNN with the mean of its last map, a transformer with its own pooling."""

import math
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from timm.data.imagenet_info import infer_imagenet_subset
from torch import Tensor, nn

from ssl_sbir.encoders.backbone import BackboneEncoder
from ssl_sbir.encoders.class_vocabulary import imagenet_vocabulary
from ssl_sbir.encoders.classifying import VocabularyReader
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.hub_files import check_patch_multiple, image_size_error
from ssl_sbir.encoders.timm_sources import WeightsSource, create_timm_model, pretrained_config

# Parts that some CNNs apply after pooling; removed, since the feature here is the mean of the map.
AFTER_POOLING = ("head", "conv_head", "norm_head", "pre_logits")


class TimmEncoder(BackboneEncoder):
    """A timm model without its classifier.

    A CNN's feature is the mean of its last map. A transformer's feature is pooled by the model (class token, mean or
    attention), and its map holds the patch tokens, without class and register tokens.
    """

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The last map or the patch tokens, [b, width, rows, columns]; the domain is ignored."""
        del domain
        last = self.backbone.forward_features(self.normalize_image(image))
        return to_feature_map(self.backbone, last, image.shape[2] / image.shape[3])

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width]; the domain is ignored."""
        del domain
        last = self.backbone.forward_features(self.normalize_image(image))
        if last.ndim == 3:
            return self.backbone.forward_head(last, pre_logits=True)
        return to_feature_map(self.backbone, last, image.shape[2] / image.shape[3]).mean((2, 3))


def to_feature_map(model: nn.Module, last_features: Tensor, ratio: float) -> Tensor:
    """A timm model's last features as [b, width, rows, columns]; `ratio` is image height over width."""
    if last_features.ndim == 4:
        return (
            last_features.permute(0, 3, 1, 2)
            if getattr(model, "output_fmt", "NCHW") == "NHWC"
            else last_features
        )
    return tokens_to_grid(last_features[:, getattr(model, "num_prefix_tokens", 0) :], ratio)


def tokens_to_grid(tokens: Float[Tensor, "b n width"], ratio: float) -> Float[Tensor, "b width rows columns"]:
    """Patch tokens in raster order as a map; `ratio` is rows over columns.

    Raises:
        ValueError: the tokens fill no grid of that ratio.
    """
    rows = round(math.sqrt(tokens.shape[1] * ratio))
    if rows == 0 or tokens.shape[1] % rows:
        raise ValueError(f"{tokens.shape[1]} tokens fill no grid")
    return tokens.transpose(1, 2).unflatten(2, (rows, -1))


def timm_encoder(
    name: str,
    *,
    size: int | None = None,
    pretrained: WeightsSource = True,
    encoder_name: str | None = None,
) -> TimmEncoder:
    """timm's model of that name.

    Args:
        name: as `timm.list_models()` or `timm.list_pretrained()` has it.
        size: image side in pixels; by default the one of the model's pretraining.
        pretrained: True loads its weights from the hub, a path from that file (.safetensors, or .pth with only
            tensors), and a function fills the model itself; False leaves random ones.
        encoder_name: the encoder name that errors mention.

    Raises:
        EncoderError: the name is unknown, the weights are unavailable, or the model doesn't accept the size.
    """
    encoder_name = encoder_name or f"timm:{name}"
    facts = pretrained_config(name)
    preprocess = Preprocess(size or facts.input_size[-1], tuple(facts.mean), tuple(facts.std))
    model = create_timm_model(name, preprocess.size, pretrained, encoder_name, facts.fixed_input_size)
    head = model.get_classifier() if pretrained else None
    return _wrap_timm_model(
        model, name, preprocess, head if isinstance(head, nn.Linear) else None, encoder_name
    )


def timm_encoder_from_spec(spec: dict[str, Any]) -> Encoder:
    """The architecture described by a `timm` spec, with random weights."""
    name, preprocess = spec["model"], Preprocess.from_facts(spec["preprocess"])
    fixed = pretrained_config(name).fixed_input_size
    model = create_timm_model(name, preprocess.size, False, f"timm:{name}", fixed)
    return _wrap_timm_model(model, name, preprocess, None, f"timm:{name}")


def _wrap_timm_model(
    model: Any, name: str, preprocess: Preprocess, head: nn.Linear | None, encoder_name: str
) -> TimmEncoder:
    model.reset_classifier(0)
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if patch and hasattr(model, "num_prefix_tokens"):
        check_patch_multiple(encoder_name, preprocess.size, patch[0])
    width, same_pooling = _probe_feature_width(model, preprocess.size, encoder_name, name)
    spec = {"kind": "timm", "model": name, "preprocess": preprocess.facts()}
    if head is None or not same_pooling or head.in_features != width:
        return TimmEncoder(spec, preprocess, width, model)
    return TimmEncoder(spec, preprocess, width, model, head, _imagenet_vocabulary_reader(name, head))


def _imagenet_vocabulary_reader(name: str, head: nn.Linear) -> VocabularyReader | None:
    """What reads the words of a head's classes; None where these are no known subset of ImageNet."""
    num_classes = pretrained_config(name).num_classes
    subset = infer_imagenet_subset({"num_classes": num_classes})
    if subset is None or num_classes != head.out_features:
        return None
    return partial(imagenet_vocabulary, subset)


def _probe_feature_width(model: Any, size: int, encoder_name: str, name: str) -> tuple[int, bool]:
    """The feature's width, and whether the model's own pooling gives the same feature as ours."""
    used: set[str] = set()
    hooks = [
        part.register_forward_hook(lambda *_, top=top: used.add(top))
        for top in AFTER_POOLING
        if isinstance(getattr(model, top, None), nn.Module)
        for part in model.get_submodule(top).modules()
    ]
    model.eval()
    try:
        with torch.no_grad():
            last = model.forward_features(
                torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
            )
            for hook in hooks:
                hook.remove()
            pooled = model.forward_head(last, pre_logits=True)
            return _feature_width(model, last, pooled, used)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise image_size_error(encoder_name, size, pretrained_config(name).input_size[-1], error) from error
    finally:
        model.train()


def _feature_width(model: Any, last: Tensor, pooled: Tensor, used: set[str]) -> tuple[int, bool]:
    feature_map = to_feature_map(model, last, 1.0)
    if last.ndim == 3:
        return pooled.shape[1], True
    for top in AFTER_POOLING:
        if hasattr(model, top) and top not in used:
            setattr(model, top, nn.Identity())
    mean = feature_map.mean((2, 3))
    return mean.shape[1], mean.shape == pooled.shape and torch.allclose(mean, pooled, atol=1e-5)
