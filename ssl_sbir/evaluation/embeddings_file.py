"""Features from a `.npz` or `.safetensors` file, with class names from a CSV beside it."""

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

REQUIRED_ARRAYS = ("query", "query_labels", "gallery", "gallery_labels")
OPTIONAL_ARRAYS = ("training", "query_instances", "gallery_instances")
EMBEDDINGS_FILE_HINT = (
    "It needs the arrays query [q, d], query_labels [q], gallery [n, d], gallery_labels [n]; "
    f"optional: {', '.join(OPTIONAL_ARRAYS)}."
)


@dataclass(frozen=True)
class EmbeddingsFile:
    """The arrays of a file, by `evaluate_embeddings`' argument names, and class names if there are any."""

    arrays: dict[str, Any]
    classes: tuple[str, ...] | None


def read_embeddings(path: Path) -> EmbeddingsFile:
    """The arrays of an embeddings file.

    A CSV of the same name may lie beside it: either with columns `label,name`, the names of integer labels; or with
    columns `set,name`, one line per row (`query` or `gallery`, in their order), instead of label arrays.

    Raises:
        EvaluationError: the file is missing or damaged, has another format, or lacks an array.
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file", EMBEDDINGS_FILE_HINT)
    arrays = _read_npz_arrays(path) if path.suffix == ".npz" else _read_safetensors_arrays(path)
    names = path.with_suffix(".csv")
    table = _read_label_csv(names) if names.is_file() else None
    classes = None
    if table is not None and "set" in table[0]:
        for side in ("query", "gallery"):
            arrays[f"{side}_labels"] = [line["name"] for line in table if line["set"] == side]
    elif table is not None:
        classes = _class_names_from_table(names, table)
    for name in REQUIRED_ARRAYS:
        if name not in arrays:
            near = did_you_mean(name, [found for found in arrays if found not in REQUIRED_ARRAYS])
            raise EvaluationError(f"{path} has no array '{name}'.{near}", EMBEDDINGS_FILE_HINT)
    return EmbeddingsFile(
        {name: arrays[name] for name in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS) if name in arrays}, classes
    )


def _read_npz_arrays(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path):  # np.load would also read a .npy file of this name
            pass
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: _to_native_byte_order(file[name]) for name in file.files}
    except (ValueError, OSError, EOFError, SyntaxError, *_NPZ_ERRORS) as error:
        raise EvaluationError(f"{path} can't be read: {error}", EMBEDDINGS_FILE_HINT) from error


_NPZ_ERRORS = (zipfile.BadZipFile, zlib.error, tokenize.TokenError)


def _to_native_byte_order(array: np.ndarray) -> Any:
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.kind in "fiub" else array


def _read_safetensors_arrays(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        raise EvaluationError(f"{path} is neither .npz nor .safetensors", EMBEDDINGS_FILE_HINT)
    try:
        loaded: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise EvaluationError(f"{path} can't be read: {error}", EMBEDDINGS_FILE_HINT) from error
    return dict(loaded)


def _read_label_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} can't be read: {error}") from error
    if not table or (not {"label", "name"} <= set(table[0]) and not {"set", "name"} <= set(table[0])):
        raise EvaluationError(
            f"{path} has neither columns label,name nor columns set,name",
            "Name the columns in its first line.",
        )
    return table


def _class_names_from_table(path: Path, table: list[dict[str, str]]) -> tuple[str, ...]:
    try:
        names = {int(line["label"]): line["name"] for line in table}
    except (TypeError, ValueError) as error:
        raise EvaluationError(
            f"{path}: a label isn't an integer ({error})", "Lines look like: 0,airplane"
        ) from error
    if min(names) < 0:
        raise EvaluationError(f"{path}: label {min(names)} is negative", "Labels count from 0.")
    return tuple(names.get(label, str(label)) for label in range(max(names) + 1))
