"""Repeatable runs: the only function that sets seeds, and deterministic GPU kernels."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(*parts: int) -> None:
    """Seeds every random generator from numbers such as (seed, step, rank).

    A step that is seeded by its own number depends on no step before it: a run resumed there uses the same
    augmentations and dropouts as an uninterrupted one.
    """
    value = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value & 0xFFFFFFFF)


@contextmanager
def repeatable_kernels(device: str | torch.device) -> Iterator[None]:
    """Within the block, a GPU computes the same bits from the same input each time; a CPU always does.

    Some kernels of cuDNN and torch sum in the order in which their threads finish. Where torch has no deterministic
    kernel, it warns and uses such a one.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.deterministic,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.deterministic = before[2]
