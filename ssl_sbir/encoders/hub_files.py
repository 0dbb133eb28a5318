"""Weights on a hub: where their file belongs on this machine, and errors that say how to get it. Imports no torch."""

import os
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ssl_sbir.errors import EncoderError

# The names under which repositories of transformers, timm and open_clip keep weights that we read.
HUB_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
)
MAX_ERROR_LENGTH = 160  # characters of another library's message
FALLBACK_HINT = (
    "Otherwise: --set encoder.pretrained=false (random weights), or an encoder that `ssl-sbir encoders` lists as "
    "available."
)


def is_offline() -> bool:
    """Whether the user forbids network access (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    switches = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in switches)


def is_hub_unreachable() -> bool:
    """Whether the hub is forbidden or its name doesn't resolve; its own client would retry for a minute."""
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
    """Where torch keeps the checkpoint of a URL, whether or not it is there."""
    return _torch_hub_dir() / "checkpoints" / url.rsplit("/", 1)[-1]


def _torch_hub_dir() -> Path:
    """What `torch.hub.get_dir()` returns, by its rules where torch isn't imported."""
    if "torch.hub" in sys.modules:  # it may have been told otherwise: torch.hub.set_dir
        return Path(sys.modules["torch.hub"].get_dir())
    torch_cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(os.environ.get("TORCH_HOME", torch_cache)).expanduser() / "hub"


def is_in_torch_hub(url: str) -> bool:
    """Whether torch already has the checkpoint of a URL."""
    return torch_hub_file(url).is_file()


def is_in_hf_cache(repository: str) -> bool:
    """Whether the Hugging Face cache already has weights of a repository."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in HUB_FILES)


def missing_timm_weights_error(encoder_name: str, facts: Any, error: Exception) -> EncoderError:
    """Says that a timm model's weights are unavailable, and how to get them."""
    if facts.hf_hub_id:
        repository = f"https://huggingface.co/{facts.hf_hub_id}"
        hint = f"Fetch model.safetensors from {repository} elsewhere and name it: {encoder_name}@FILE. "
    else:
        hint = f"Fetch {facts.url} elsewhere and put it at {torch_hub_file(facts.url)}. "
    return EncoderError(
        f"encoder '{encoder_name}': its weights are not here and can't be fetched ({first_error_line(error)})",
        hint + FALLBACK_HINT,
    )


def checkpoint_download_error(encoder_name: str, url: str, reason: str) -> EncoderError:
    """Says that a checkpoint of torch's hub can't be fetched, which file it is and where it belongs."""
    return EncoderError(
        f"encoder '{encoder_name}': its weights are not here and can't be fetched ({reason})",
        f"Fetch {url} elsewhere and put it at {torch_hub_file(url)}. {FALLBACK_HINT}",
    )


def image_size_error(encoder_name: str, size: int, native_size: int, error: Exception) -> EncoderError:
    """Says that an encoder doesn't accept an image size, and which size it surely accepts."""
    return EncoderError(
        f"encoder '{encoder_name}' can't take images of {size} × {size} px ({first_error_line(error)})",
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
            f"encoder '{encoder_name}' sees patches of {patch_size} × {patch_size} px, which don't fill an image of "
            f"{size} px",
            f"Choose a size of {' or '.join(map(str, sides))}.",
        )


def first_error_line(error: Exception) -> str:
    """The first line of an error's message, at most 160 characters; its type where it has no message."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= MAX_ERROR_LENGTH else line[: MAX_ERROR_LENGTH - 3] + "…"
