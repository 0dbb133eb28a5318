"""torchvision's ResNet-50 and VGG16-BN, from which most published systems start."""

from collections import OrderedDict
from functools import partial
from typing import Any

import torchvision.models as zoo
from torch import Tensor, hub, nn
from torchvision.models.vgg import cfgs, make_layers

from ssl_sbir.encoders.backbone import BackboneEncoder, check_own_size
from ssl_sbir.encoders.class_vocabulary import imagenet_vocabulary
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.hub_files import checkpoint_download_error, is_in_torch_hub, is_offline
from ssl_sbir.errors import EncoderError

# The first ImageNet weights of each, with which the papers started.
TORCHVISION_WEIGHTS = {
    "resnet50": zoo.ResNet50_Weights.IMAGENET1K_V1,
    "vgg16_bn": zoo.VGG16_BN_Weights.IMAGENET1K_V1,
}
TORCHVISION_WIDTHS = {"resnet50": 2048, "vgg16_bn": 512}


def torchvision_encoder(name: str, *, size: int | None = None, pretrained: bool = True) -> BackboneEncoder:
    """`resnet50` (2,048-d) or `vgg16_bn` (512-d: the mean of its last convolutional map, not fc2).

    Only ResNet-50 has a linear head on that feature; VGG16-BN's `classifier()` is None.

    Raises:
        EncoderError: the weights are unavailable, or the size is too small.
    """
    weights = _fetch_torchvision_weights(name) if pretrained else {}
    encoder = _wrap_torchvision_model(name, Preprocess(size or 224), _imagenet_head(weights))
    if pretrained:
        without_head = {k: v for k, v in weights.items() if not k.startswith(("fc.", "classifier."))}
        encoder.backbone.load_state_dict(without_head)
    return encoder


def torchvision_encoder_from_spec(spec: dict[str, Any]) -> Encoder:
    """The architecture described by a `torchvision` spec, with random weights."""
    return _wrap_torchvision_model(spec["model"], Preprocess.from_facts(spec["preprocess"]), None)


def _wrap_torchvision_model(name: str, preprocess: Preprocess, head: nn.Linear | None) -> BackboneEncoder:
    spec = {"kind": "torchvision", "model": name, "preprocess": preprocess.facts()}
    width, layers = TORCHVISION_WIDTHS[name], _convolutional_layers(name)
    read_vocabulary = partial(imagenet_vocabulary, "imagenet-1k")
    encoder = BackboneEncoder(spec, preprocess, width, layers, head, read_vocabulary)
    check_own_size(encoder, name, 224)
    return encoder


def _convolutional_layers(name: str) -> nn.Module:
    if name == "vgg16_bn":  # without its three linear layers, nine tenths of its weights
        return nn.Sequential(OrderedDict(features=make_layers(cfgs["D"], batch_norm=True)))
    parts = zoo.get_model(name, weights=None).named_children()
    return nn.Sequential(OrderedDict((part, layer) for part, layer in parts if part not in ("avgpool", "fc")))


def _imagenet_head(weights: dict[str, Tensor]) -> nn.Linear | None:
    if "fc.weight" not in weights:
        return None
    classes, width = weights["fc.weight"].shape
    head = nn.Linear(width, classes)
    head.load_state_dict({"weight": weights["fc.weight"], "bias": weights["fc.bias"]})
    return head


def _fetch_torchvision_weights(name: str) -> dict[str, Any]:
    url = TORCHVISION_WEIGHTS[name].url
    if is_offline() and not is_in_torch_hub(url):
        raise checkpoint_download_error(name, url, "HF_HUB_OFFLINE is set")
    try:
        return dict(hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True))
    except OSError as error:
        raise checkpoint_download_error(name, url, str(error)) from error
    except Exception as error:  # torch raises nearly anything for a damaged archive
        raise EncoderError(
            f"encoder '{name}': its checkpoint can't be read ({error})", "Delete it and run again."
        ) from error
