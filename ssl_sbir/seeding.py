"""The one place where a seed is set."""

import random

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
