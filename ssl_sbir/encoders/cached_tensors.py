"""Tensors in the cache folder: read back, or said to be damaged."""

import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


def load_cached_tensor(path: Path, key: str, shape: tuple[int, int]) -> Tensor | None:
    """A float32 tensor of a cached file; None where there is no file, or, as stderr then says, it is damaged.

    Args:
        path: of the file.
        key: of the tensor in it, which says what it holds.
        shape: that it must have.
    """
    if not path.is_file():
        return None
    try:
        tensor = load_file(path)[key]
        if tensor.shape == shape and tensor.dtype == torch.float32:
            return tensor
        reason = f"it holds {tensor.dtype} {list(tensor.shape)}"
    except (SafetensorError, KeyError, OSError) as error:
        reason = str(error)
    print(f"cached {key} {path.name} are damaged ({reason}): computing them again", file=sys.stderr)
    return None
