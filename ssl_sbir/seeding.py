"""What makes runs repeatable: the one place where a seed is set, and kernels that add up in one order."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(*parts: int) -> None:
    """Sets every random generator from some numbers, such as (seed, step, rank).

    A step that seeds itself from its own number needs nothing from the steps before it: a run that is
    resumed there draws the same augmentations and dropouts as one that never stopped.
    """
    value = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value & 0xFFFFFFFF)


@contextmanager
def repeatable_kernels(device: str | torch.device) -> Iterator[None]:
    """Inside, a GPU computes the same bits from the same input each time; the processor does by itself.

    Some of cuDNN's and torch's kernels add in the order in which their threads come. Where torch has no other
    kernel it warns and takes that one.
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
