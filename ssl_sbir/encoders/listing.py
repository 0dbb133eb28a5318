"""The table of encoders: nothing is downloaded, built or imported (torch, timm, torchvision) to list them."""

from dataclasses import dataclass
from importlib.metadata import entry_points

from ssl_sbir.encoders.encoder_facts import (
    CHECKPOINT_URLS,
    ENCODER_ENTRY_POINTS,
    LITE0_SIZE,
    TIMM_MODEL_COUNT,
)
from ssl_sbir.encoders.hub_files import is_in_hf_cache, is_in_torch_hub, torch_hub_file
from ssl_sbir.encoders.installed_packages import LITE0_PACKAGE, QUICKSTART_INSTALL, find_lite0_checkpoint

OWN_TOWER, BY_CLASSIFIER, NO_TEXT, DEPENDS = "own text tower", "by its classifier", "no", "depends"


@dataclass(frozen=True)
class EncoderInfo:
    """One row of `ssl-sbir encoders`.

    Attributes:
        name: what `load_encoder` takes; capitals are placeholders.
        size: default image side in pixels, or None if it depends.
        width: length of a feature, or None if it depends.
        parameters: number of trainable parameters, or None if it depends.
        licence: of the weights.
        weights: where they come from.
        reads_text: what places texts in the space of its features: "own text tower", "by its classifier", "no", or
            "depends".
        available: whether they are on this machine now.
        note: what it is, or what to do if it isn't available.
    """

    name: str
    size: int | None
    width: int | None
    parameters: int | None
    licence: str
    weights: str
    reads_text: str
    available: bool
    note: str


def encoder_table() -> list[EncoderInfo]:
    """Every named encoder, those of other packages, some good ones of the hubs, and the open forms of names."""
    rows = [*_named_encoders(), *_hub_encoders(), *_open_name_forms()]
    others = {point.name for point in entry_points(group=ENCODER_ENTRY_POINTS)} - {row.name for row in rows}
    return rows + [
        EncoderInfo(
            name, None, None, None, "see its package", "another package", DEPENDS, True, "an entry point"
        )
        for name in sorted(others)
    ]


def _named_encoders() -> list[EncoderInfo]:
    available = find_lite0_checkpoint() is not None
    lite0: tuple[str, str, str, bool] = (
        "Apache-2.0",
        f"package {LITE0_PACKAGE}",
        BY_CLASSIFIER,
        available,
    )
    install = f"run: {QUICKSTART_INSTALL}"
    return [
        EncoderInfo(
            "efficientnet_lite0", LITE0_SIZE, 1280, 3_371_008, *lite0, "the default" if available else install
        ),
        EncoderInfo(
            "efficientnet_lite0_conditional",
            LITE0_SIZE,
            1280,
            3_455_040,
            *lite0,
            "conditioned on the domain in every batch norm" if available else install,
        ),
        _torch_hub_info("resnet50", 2048, 23_508_032, "BSD-3-Clause", BY_CLASSIFIER, "a common baseline"),
        _torch_hub_info(
            "vgg16_bn", 512, 14_723_136, "BSD-3-Clause", NO_TEXT, "mean of the last map, not fc2"
        ),
        _torch_hub_info(
            "cse_resnet50",
            2048,
            26_054_128,
            "Apache-2.0",
            BY_CLASSIFIER,
            "SAKE's: conditioned on the domain in every SE gate",
        ),
    ]


def _torch_hub_info(
    name: str, width: int, parameters: int, licence: str, reads_text: str, about: str
) -> EncoderInfo:
    url = CHECKPOINT_URLS[name]
    available = is_in_torch_hub(url)
    fetch = f"fetched at first use; without a network put the file at {torch_hub_file(url)}"
    note = about if available else fetch
    return EncoderInfo(name, 224, width, parameters, licence, url, reads_text, available, note)


def _hub_encoders() -> list[EncoderInfo]:
    return [
        _hf_hub_info(
            "timm:vit_small_patch14_dinov2.lvd142m", 518, 384, 22_056_192, "Apache-2.0", "timm/{}", "@FILE"
        ),
        _hf_hub_info(
            "timm:vit_base_patch32_clip_224.openai", 224, 768, 87_456_000, "Apache-2.0", "timm/{}", "@FILE"
        ),
        _hf_hub_info("timm:convnext_tiny.fb_in22k", 224, 768, 27_818_592, "Apache-2.0", "timm/{}", "@FILE"),
        _hf_hub_info(
            "hf:openai/clip-vit-base-patch32", 224, 512, 87_849_216, "see its model card", "{}", "", OWN_TOWER
        ),
        _hf_hub_info("hf:facebook/dinov2-small", 224, 384, 22_056_576, "Apache-2.0", "{}", ""),
    ]


def _hf_hub_info(
    name: str,
    size: int,
    width: int,
    parameters: int,
    licence: str,
    repository_form: str,
    file: str,
    reads_text: str = NO_TEXT,
) -> EncoderInfo:
    repository = repository_form.format(name.partition(":")[2])
    url, available = f"https://huggingface.co/{repository}", is_in_hf_cache(repository)
    local = f"{name}{file}" if file else "hf:FOLDER"
    note = (
        "in the Hugging Face cache" if available else f"fetched at first use; without a network give {local}"
    )
    return EncoderInfo(name, size, width, parameters, licence, url, reads_text, available, note)


def _open_name_forms() -> list[EncoderInfo]:
    forms: list[tuple[str, str, str, bool, str]] = [
        (
            "timm:NAME",
            "see its model card",
            "Hugging Face hub",
            False,
            f"any of timm's more than {TIMM_MODEL_COUNT:,} models",
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
        (
            "run:FOLDER",
            "yours",
            "a run of this project",
            True,
            "the encoder that a run exported to its model/",
        ),
    ]
    return [
        EncoderInfo(name, None, None, None, licence, weights, DEPENDS, available, note)
        for name, licence, weights, available, note in forms
    ]
