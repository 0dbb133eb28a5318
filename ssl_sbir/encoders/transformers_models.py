"""Models as transformers loads them: quietly, whole, from safetensors only, without waiting for an unreachable hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssl_sbir.encoders.hub_files import is_hub_unreachable, is_in_hf_cache, is_offline


def check_source_reachable(source: str) -> None:
    """Refuses a repository that is neither in the cache nor reachable.

    Raises:
        OSError: there is no network.
    """
    if not Path(source).is_dir() and not is_in_hf_cache(source) and is_hub_unreachable():
        raise OSError("no network")


def load_complete_model(model_class: Any, source: str, **options: Any) -> Any:
    """A transformers model with all of its weights; those of a pooler may be missing.

    Raises:
        ValueError: tensors are missing.
        OSError: there are no safetensors.
    """
    with _silence_transformers():
        model, report = model_class.from_pretrained(
            source, use_safetensors=True, local_files_only=is_offline(), output_loading_info=True, **options
        )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, the first is {missing[0]}")
    return model


def describe_source(source: str) -> str:
    """What a model was to be loaded from: "folder" or "repository"."""
    return "folder" if Path(source).is_dir() else "repository"


@contextmanager
def _silence_transformers() -> Iterator[None]:
    """Keeps transformers from listing every unused tensor, and from showing a progress bar for half a second."""
    from transformers.utils import logging

    verbosity, shows_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_bar:
            logging.enable_progress_bar()
