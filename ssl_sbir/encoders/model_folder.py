"""Folders that hold a model: config.json (how to rebuild it) and model.safetensors (its weights), no pickle."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_sbir.errors import RunError

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
EXPORT_AGAIN_HINT = "The folder is damaged or another version's: export the run again, or name another one."


def write_model_files(folder: Path, model: nn.Module, config: dict[str, Any]) -> None:
    """Writes a model's weights and its config.json into a folder, which must exist."""
    # Copies: safetensors takes neither channels-last strides nor memory that two names share.
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)
    write_json_object(folder / CONFIG_FILE, config)


def write_json_object(path: Path, facts: dict[str, Any]) -> None:
    """Writes an indented JSON object."""
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read_json_object(path: Path, missing: RunError) -> dict[str, Any]:
    """The JSON object in a file of a model folder.

    Args:
        path: the file.
        missing: raised where there is no such file.

    Raises:
        RunError: it is missing or unreadable, or holds something else.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise missing from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN_HINT) from error
    if not isinstance(facts, dict):
        raise RunError(f"{path} holds no JSON object", EXPORT_AGAIN_HINT)
    return facts


def load_model_weights(model: nn.Module, folder: Path) -> None:
    """Fills a model with the weights of its folder.

    Raises:
        RunError: the file is missing or damaged, or a tensor is missing, extra or of another shape.
    """
    path = folder / WEIGHTS_FILE
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN_HINT) from error
    if wrong := describe_tensor_mismatch(state, model.state_dict()):
        raise RunError(f"{path}: {wrong}", EXPORT_AGAIN_HINT)
    model.load_state_dict(state)


def describe_tensor_mismatch(loaded: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """How loaded tensors differ from the expected ones, naming the first of each kind; empty where they agree."""
    shapes = [
        f"{name} has shape {list(loaded[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected.keys() & loaded.keys()
        if loaded[name].shape != expected[name].shape
    ]
    parts = (
        _format_first_mismatch("tensor missing", sorted(expected.keys() - loaded.keys())),
        _format_first_mismatch("unexpected tensor", sorted(loaded.keys() - expected.keys())),
        _format_first_mismatch("wrong shape", sorted(shapes)),
    )
    return "; ".join(part for part in parts if part)


def _format_first_mismatch(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{what}: {names[0]}{more}" if names else ""
