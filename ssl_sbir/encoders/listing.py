"""What encoders there are, as facts: nothing is downloaded, and no network is built, to list them."""

from dataclasses import dataclass

import timm
from torchvision.models import get_model_weights

from ssl_sbir.encoders.hub_files import is_in_hf_cache, is_in_torch_hub, torch_hub_file
from ssl_sbir.encoders.load import LITE0_SIZE, encoder_registry
from ssl_sbir.encoders.packaged_weights import LITE0_INSTALL, LITE0_PACKAGE, find_lite0_checkpoint
from ssl_sbir.encoders.timm_sources import pretrained_config


@dataclass(frozen=True)
class EncoderInfo:
    """One line of `ssl-sbir encoders`.

    Attributes:
        name: what `load_encoder` takes; capitals stand for something of the user's.
        size: default image side in pixels, or None where it depends.
        width: length of a feature, or None where it depends.
        parameters: how many numbers are trained, or None where it depends.
        licence: of the weights.
        weights: where they come from.
        available: whether they are on this machine now.
        note: what it is, or what to do where it isn't available.
    """

    name: str
    size: int | None
    width: int | None
    parameters: int | None
    licence: str
    weights: str
    available: bool
    note: str


def encoder_table() -> list[EncoderInfo]:
    """Every encoder with a name, those of other packages, some good ones of the hubs, and the open forms."""
    rows = [*_named_encoders(), *_hub_encoders(), *_open_name_forms()]
    known = {row.name for row in rows}
    others = [name for name in encoder_registry.names() if name not in known]
    return rows + [
        EncoderInfo(name, None, None, None, "see its package", "another package", True, "an entry point")
        for name in others
    ]


def _named_encoders() -> list[EncoderInfo]:
    here = find_lite0_checkpoint() is not None
    lite0: tuple[str, str, bool] = ("Apache-2.0", f"package {LITE0_PACKAGE}", here)
    install = f"run: {LITE0_INSTALL}"
    return [
        EncoderInfo(
            "efficientnet_lite0", LITE0_SIZE, 1280, 3_371_008, *lite0, "the default" if here else install
        ),
        EncoderInfo(
            "efficientnet_lite0_conditional",
            LITE0_SIZE,
            1280,
            3_455_040,
            *lite0,
            "knows the domain in every batch norm" if here else install,
        ),
        _torch_hub_info(
            "resnet50", 2048, 23_508_032, "BSD-3-Clause", _torchvision_url("resnet50"), "a common baseline"
        ),
        _torch_hub_info(
            "vgg16_bn",
            512,
            14_723_136,
            "BSD-3-Clause",
            _torchvision_url("vgg16_bn"),
            "mean of the last map, not fc2",
        ),
        _torch_hub_info(
            "cse_resnet50",
            2048,
            26_054_128,
            "Apache-2.0",
            _legacy_seresnet50_url(),
            "SAKE's: knows the domain in every SE gate",
        ),
    ]


def _legacy_seresnet50_url() -> str:
    return str(pretrained_config("legacy_seresnet50").url)


def _torchvision_url(name: str) -> str:
    return get_model_weights(name)["IMAGENET1K_V1"].url


def _torch_hub_info(
    name: str, width: int, parameters: int, licence: str, url: str, about: str
) -> EncoderInfo:
    here = is_in_torch_hub(url)
    note = about if here else f"fetched at first use; without a network put the file at {torch_hub_file(url)}"
    return EncoderInfo(name, 224, width, parameters, licence, url, here, note)


def _hub_encoders() -> list[EncoderInfo]:
    return [
        _hf_hub_info(
            "timm:vit_small_patch14_dinov2.lvd142m", 518, 384, 22_056_192, "Apache-2.0", "timm/{}", "@FILE"
        ),
        _hf_hub_info(
            "timm:vit_base_patch32_clip_224.openai", 224, 768, 87_456_000, "Apache-2.0", "timm/{}", "@FILE"
        ),
        _hf_hub_info("timm:convnext_tiny.fb_in22k", 224, 768, 27_818_592, "Apache-2.0", "timm/{}", "@FILE"),
        _hf_hub_info("hf:openai/clip-vit-base-patch32", 224, 512, 87_849_216, "see its model card", "{}", ""),
        _hf_hub_info("hf:facebook/dinov2-small", 224, 384, 22_056_576, "Apache-2.0", "{}", ""),
    ]


def _hf_hub_info(
    name: str, size: int, width: int, parameters: int, licence: str, place: str, file: str
) -> EncoderInfo:
    repository = place.format(name.partition(":")[2])
    here = is_in_hf_cache(repository)
    way = f"{name}{file}" if file else "hf:FOLDER"
    note = "in the Hugging Face cache" if here else f"fetched at first use; without a network give {way}"
    return EncoderInfo(
        name, size, width, parameters, licence, f"https://huggingface.co/{repository}", here, note
    )


def _open_name_forms() -> list[EncoderInfo]:
    forms: list[tuple[str, str, str, bool, str]] = [
        (
            "timm:NAME",
            "see its model card",
            "Hugging Face hub",
            False,
            f"any of timm's {len(timm.list_models())} models",
        ),
        (
            "timm:NAME@FILE",
            "the file's",
            "a .safetensors or .pth file",
            True,
            "the same, with a file's weights",
        ),
        (
            "hf:NAME-or-FOLDER",
            "see its model card",
            "Hugging Face hub or a folder",
            False,
            "any vision model",
        ),
        ("run:FOLDER", "yours", "a run of this project", True, "what a run exported to its model/"),
    ]
    return [
        EncoderInfo(name, None, None, None, licence, weights, here, note)
        for name, licence, weights, here, note in forms
    ]
