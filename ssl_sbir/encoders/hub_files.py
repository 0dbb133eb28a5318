"""Weights that live on a hub: where their file belongs, and what to do when it can't be fetched."""

import os
import socket
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from ssl_sbir.errors import EncoderError

# The names under which repositories of transformers, timm and open_clip keep weights that we read.
HUB_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
)


def is_offline() -> bool:
    """Whether the user forbids network access (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    switches = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in switches)


def is_hub_unreachable() -> bool:
    """Whether the hub is forbidden or its name leads nowhere, where its client would retry for a minute."""
    if is_offline():
        return True
    if urllib.request.getproxies():
        return False
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return True
    return False


def torch_hub_file(url: str) -> Path:
    """Where torch keeps the checkpoint of that address, whether or not it is there."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def is_in_torch_hub(url: str) -> bool:
    """Whether torch already has the checkpoint of that address."""
    return torch_hub_file(url).is_file()


def is_in_hf_cache(repository: str) -> bool:
    """Whether the Hugging Face cache already has weights of that repository."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in HUB_FILES)


def missing_timm_weights_error(encoder_name: str, facts: Any, error: Exception) -> EncoderError:
    """Says that a timm model's weights can't be had, and each way to have them."""
    if facts.hf_hub_id:
        repository = f"https://huggingface.co/{facts.hf_hub_id}"
        hint = f"Fetch model.safetensors from {repository} elsewhere and name it: {encoder_name}@FILE. "
    else:
        hint = f"Fetch {facts.url} elsewhere and put it at {torch_hub_file(facts.url)}. "
    return EncoderError(
        f"encoder '{encoder_name}': its weights are not here and can't be fetched ({_shorten_error(error)})",
        hint + FALLBACK_HINT,
    )


FALLBACK_HINT = (
    "Otherwise: --set encoder.pretrained=false (random), or one that `ssl-sbir encoders` calls available."
)


def checkpoint_download_error(encoder_name: str, url: str, reason: str) -> EncoderError:
    """Says that a checkpoint of torch's hub can't be fetched, which file it is and where it belongs."""
    return EncoderError(
        f"encoder '{encoder_name}': its weights are not here and can't be fetched ({reason})",
        f"Fetch {url} elsewhere and put it at {torch_hub_file(url)}. {FALLBACK_HINT}",
    )


def image_size_error(encoder_name: str, size: int, native_size: int, error: Exception) -> EncoderError:
    """Says that an image size doesn't go through an encoder, and which size surely does."""
    return EncoderError(
        f"encoder '{encoder_name}' can't take images of {size} × {size} px ({_shorten_error(error)})",
        f"Choose another size, for example the {native_size} px of its pretraining, or another encoder.",
    )


def check_patch_multiple(encoder_name: str, size: int, patch_size: int) -> None:
    """Refuses an image side that is no multiple of a transformer's patch: the rest would go unseen.

    Raises:
        EncoderError: names the encoder, the side, the patch and the nearest sides that fit.
    """
    if size % patch_size:
        sides = sorted({max(size // patch_size, 1) * patch_size, (size // patch_size + 1) * patch_size})
        raise EncoderError(
            f"encoder '{encoder_name}' sees patches of {patch_size} × {patch_size} px, which don't fill an image of {size} px",
            f"Choose a size of {' or '.join(map(str, sides))}.",
        )


def _shorten_error(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 160 else line[:157] + "…"
