"""Checkpoints without pickle: weights and optimiser state as safetensors, the rest as JSON, written atomically."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_sbir.errors import RunError
from ssl_sbir.files import atomic_folder
from ssl_sbir.run import list_checkpoints

CHECKPOINTS_KEPT = 2


def save_checkpoint(
    folder: Path, step: int, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, **state: Any
) -> None:
    """Writes `folder/step-N` atomically and removes all but the newest checkpoints.

    Args:
        folder: the run's folder of checkpoints.
        step: number of steps done.
        modules: file stem → module; their state is written to `<stem>.safetensors`.
        optimizer: its state is written to `optimizer.safetensors`.
        state: further JSON-able facts.
    """
    with atomic_folder(folder / f"step-{step:06d}") as written:
        for name, module in modules.items():
            save_file(_contiguous_state(module.state_dict()), written / f"{name}.safetensors")
        tensors, groups = _flatten_optimizer(optimizer)
        save_file(tensors, written / "optimizer.safetensors")
        facts = {"step": step, "groups": groups, **state}
        (written / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    for old in list_checkpoints(folder)[:-CHECKPOINTS_KEPT]:
        shutil.rmtree(old)


def load_checkpoint(
    folder: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Loads a checkpoint into the modules and the optimiser; returns the rest of its state.

    Raises:
        RunError: a file is damaged, or a tensor is missing, unexpected or of another shape.
    """
    for name, module in modules.items():
        load_module_state(
            module, read_tensors(folder / f"{name}.safetensors"), folder / f"{name}.safetensors"
        )
    try:
        facts: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"cannot read {folder / 'state.json'}: {error}", _REMOVE_CHECKPOINT_HINT.format(folder)
        ) from error
    _restore_optimizer(optimizer, read_tensors(folder / "optimizer.safetensors"), facts.pop("groups"), folder)
    return facts


_REMOVE_CHECKPOINT_HINT = "Remove {} and resume from the one before it, or start over with --overwrite."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file.

    Raises:
        RunError: the file is missing, truncated or not a safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot read {path}: {error}", _REMOVE_CHECKPOINT_HINT.format(path.parent)) from error


def load_module_state(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Loads tensors into a module, strictly.

    Args:
        module: receives the values.
        tensors: name → value.
        path: the file they came from, for the error.

    Raises:
        RunError: a tensor is missing, unexpected or of another shape.
    """
    own = module.state_dict()
    problems = [f"tensor '{name}' is missing" for name in own.keys() - tensors.keys()]
    problems += [f"tensor '{name}' is unexpected" for name in tensors.keys() - own.keys()]
    problems += [
        f"tensor '{name}' has shape {list(tensors[name].shape)} instead of {list(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise RunError(
            f"{path}: {min(problems)}{more}", "It was made with other settings or another version."
        )
    module.load_state_dict(dict(tensors))


def _contiguous_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
    }


def _flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value.detach().clone(memory_format=torch.contiguous_format)
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]], path: Path
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except ValueError as error:
        raise RunError(
            f"{path}: the optimiser's state doesn't fit ({error})", _REMOVE_CHECKPOINT_HINT.format(path)
        ) from error
