"""Features made elsewhere, from `.npz` or `.safetensors`, with class names from a CSV beside the file."""

import csv
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ssl_sbir.errors import EvaluationError
from ssl_sbir.registry import did_you_mean

NEEDED = ("query", "query_labels", "gallery", "gallery_labels")
OPTIONAL = ("training", "query_instances", "gallery_instances")
HINT = (
    "It holds arrays query [q, d], query_labels [q], gallery [n, d], gallery_labels [n]; "
    f"and may hold {', '.join(OPTIONAL)}."
)


@dataclass(frozen=True)
class EmbeddingsFile:
    """The arrays of a file, by the names that `evaluate_embeddings` takes, and class names if there are any."""

    arrays: dict[str, Any]
    classes: tuple[str, ...] | None


def read_embeddings(path: Path) -> EmbeddingsFile:
    """The arrays of an embeddings file.

    A CSV of the same name may lie beside it: either with columns `label,name`, the names of integer labels; or with
    columns `set,name`, one line a row (`query` or `gallery`, in their order), in the place of label arrays.

    Raises:
        EvaluationError: the file is missing, is of another kind, is damaged, or lacks an array.
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file", HINT)
    arrays = _npz(path) if path.suffix == ".npz" else _safetensors(path)
    names = path.with_suffix(".csv")
    table = _csv(names) if names.is_file() else None
    classes = None
    if table is not None and "set" in table[0]:
        for side in ("query", "gallery"):
            arrays[f"{side}_labels"] = [line["name"] for line in table if line["set"] == side]
    elif table is not None:
        classes = _class_names(names, table)
    for name in NEEDED:
        if name not in arrays:
            near = did_you_mean(name, [found for found in arrays if found not in NEEDED])
            raise EvaluationError(f"{path} has no array '{name}'.{near}", HINT)
    return EmbeddingsFile({name: arrays[name] for name in (*NEEDED, *OPTIONAL) if name in arrays}, classes)


def _npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path):  # a .npy by that name isn't one
            pass
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: _plain(file[name]) for name in file.files}
    except (ValueError, OSError, EOFError, SyntaxError, *_DAMAGED) as error:
        raise EvaluationError(f"{path} can't be read: {error}", HINT) from error


_DAMAGED = (zipfile.BadZipFile, zlib.error, tokenize.TokenError)


def _plain(array: np.ndarray) -> Any:
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.kind in "fiub" else array


def _safetensors(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        raise EvaluationError(f"{path} is neither .npz nor .safetensors", HINT)
    try:
        loaded: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise EvaluationError(f"{path} can't be read: {error}", HINT) from error
    return dict(loaded)


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} can't be read: {error}") from error
    if not table or (not {"label", "name"} <= set(table[0]) and not {"set", "name"} <= set(table[0])):
        raise EvaluationError(
            f"{path} has neither columns label,name nor columns set,name", "Its first line names the columns."
        )
    return table


def _class_names(path: Path, table: list[dict[str, str]]) -> tuple[str, ...]:
    try:
        names = {int(line["label"]): line["name"] for line in table}
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"{path}: a label is no integer ({error})", "Lines look like: 0,airplane"
        ) from error
    if min(names) < 0:
        raise EvaluationError(f"{path}: label {min(names)} is negative", "Labels count from 0.")
    return tuple(names.get(label, str(label)) for label in range(max(names) + 1))
