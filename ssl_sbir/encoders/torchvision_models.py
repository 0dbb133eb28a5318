"""torchvision's ResNet-50 and VGG16-BN, the encoders most published systems start from."""

from collections import OrderedDict
from typing import Any

import torchvision.models as zoo
from torch import hub, nn

from ssl_sbir.encoders.backbone import BackboneEncoder, fits
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.hub import in_torch_hub, offline, unfetched, unfit
from ssl_sbir.errors import EncoderError

# The first ImageNet weights of each: the ones the papers started from.
WEIGHTS = {"resnet50": zoo.ResNet50_Weights.IMAGENET1K_V1, "vgg16_bn": zoo.VGG16_BN_Weights.IMAGENET1K_V1}
WIDTHS = {"resnet50": 2048, "vgg16_bn": 512}


def torchvision_encoder(name: str, *, size: int | None = None, pretrained: bool = True) -> Encoder:
    """`resnet50` (2,048-d) or `vgg16_bn` (512-d: the mean of its last convolutional map, not fc2).

    Only ResNet-50 has a linear head on that feature; VGG16-BN's `classifier()` is None.

    Raises:
        EncoderError: the weights can't be had, or the size is too small.
    """
    model = zoo.get_model(name, weights=None)
    if pretrained:
        model.load_state_dict(_fetched(name))
    head = model.fc if pretrained and name == "resnet50" else None
    return _around(model, name, Preprocess(size or 224), head)


def rebuilt_torchvision(spec: dict[str, Any]) -> Encoder:
    """The architecture that a `torchvision` spec describes, with random weights."""
    name = spec["model"]
    return _around(zoo.get_model(name, weights=None), name, Preprocess.of(spec["preprocess"]), None)


def _around(model: nn.Module, name: str, preprocess: Preprocess, head: nn.Linear | None) -> Encoder:
    spec = {"kind": "torchvision", "model": name, "preprocess": preprocess.facts()}
    encoder = BackboneEncoder(spec, preprocess, WIDTHS[name], _convolutions(model), head)
    try:
        fits(encoder)
    except RuntimeError as error:
        raise unfit(name, preprocess.size, 224, error) from error
    return encoder


def _convolutions(model: nn.Module) -> nn.Module:
    kept = [
        (name, part) for name, part in model.named_children() if name not in ("avgpool", "fc", "classifier")
    ]
    return nn.Sequential(OrderedDict(kept))


def _fetched(name: str) -> dict[str, Any]:
    url = WEIGHTS[name].url
    if offline() and not in_torch_hub(url):
        raise unfetched(name, url, "HF_HUB_OFFLINE is set")
    try:
        return dict(hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True))
    except OSError as error:
        raise unfetched(name, url, str(error)) from error
    except Exception as error:  # a damaged archive raises whatever its broken part led to
        raise EncoderError(
            f"encoder '{name}': its checkpoint can't be read ({error})", "Delete it and run again."
        ) from error
