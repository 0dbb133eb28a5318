"""Optimisers and learning-rate courses by name."""

import math
from collections.abc import Callable

import torch
from torch import nn

from ssl_sbir.recipe import OptimConfig


def optimizer_of(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser of a model's trainable parameters; vectors (biases, norms) get no weight decay."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr)


_COURSES: dict[str, Callable[[float], float]] = {
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "exponential": lambda t: 0.001**t,
    "constant": lambda _: 1.0,
}


def learning_rate(config: OptimConfig, step: int, total: int) -> float:
    """The learning rate of a step: a linear rise over the warm-up, then the schedule's course.

    Args:
        config: schedule, warm-up share and largest rate.
        step: 0 for the first one.
        total: steps of the whole run.
    """
    warmup = config.warmup * total
    if step < warmup:
        return config.lr * (step + 1) / math.ceil(warmup)
    return config.lr * _COURSES[config.schedule]((step - warmup) / max(total - warmup, 1))
