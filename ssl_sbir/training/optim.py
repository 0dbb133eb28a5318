"""Optimisers and learning-rate schedules by name; frozen stages and layer-wise learning rates."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ssl_sbir.encoders import Encoder
from ssl_sbir.encoders.stages import EncoderStage, encoder_stages
from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean
from ssl_sbir.training.settings import OptimConfig


def freeze_stages(encoder: Encoder, freeze: int | Sequence[str]) -> list[EncoderStage]:
    """Freezes an encoder's first stages, or those of these names, and returns them.

    Their weights get no gradient; if nothing before them needs one either, autograd stores no activations of them and
    they cost a forward pass only. The training loop keeps them in evaluation mode, so that batch norms keep their
    statistics.

    Args:
        encoder: any encoder (`ssl_sbir.encoders.stages` lists its stages).
        freeze: the number of first stages to freeze, or names of stages.

    Raises:
        ConfigError: it has fewer stages, or none of that name.
    """
    stages = encoder_stages(encoder)
    names = [stage.name for stage in stages]
    hint = f"Its stages, input first: {', '.join(names)}."
    if isinstance(freeze, int):
        if freeze > len(stages):
            raise ConfigError(f"optim.freeze = {freeze}: the encoder has {len(stages)} stages", hint)
        chosen = stages[:freeze]
    else:
        for name in freeze:
            if name not in names:
                raise ConfigError(f"optim.freeze: no stage '{name}'.{did_you_mean(name, names)}", hint)
        chosen = [stage for stage in stages if stage.name in freeze]
    for stage in chosen:
        for parameter in stage.parameters():
            parameter.requires_grad_(False)
    return chosen


UNDECAYED_SUFFIXES = ("bias", "scale", "shift")  # also those of one domain


def create_optimizer(
    model: nn.Module, config: OptimConfig, encoder: Encoder | None = None, images: int | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a model's trainable parameters; vectors (biases, norms) get no weight decay.

    Args:
        model: the module to train.
        config: name, rates and decays.
        encoder: the part of the model whose stages get the learning rates of `config.layer_decay`.
        images: images per step, to which `config.lr_batch` scales the rate.

    Each group's `lr_scale` multiplies the learning rate of the schedule.

    Raises:
        ConfigError: everything is frozen.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    decayed = {
        p
        for name, p in model.named_parameters()
        if p.ndim > 1 and name.rpartition(".")[2] not in UNDECAYED_SUFFIXES
    }
    scale = (
        _layer_lr_scales(encoder, config.layer_decay)
        if encoder is not None and config.layer_decay < 1
        else {}
    )
    batch = images / config.lr_batch if images and config.lr_batch else 1.0
    groups: list[dict[str, Any]] = [
        {"params": part, "weight_decay": decay, "lr_scale": factor * batch}
        for factor in sorted({scale.get(p, 1.0) for p in trainable}, reverse=True)
        for decay, matrices in ((config.weight_decay, True), (0.0, False))
        if (part := [p for p in trainable if scale.get(p, 1.0) == factor and (p in decayed) == matrices])
    ]
    if not groups:
        raise ConfigError("there is nothing to train: every stage is frozen", "Lower optim.freeze.")
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr)


def _layer_lr_scales(encoder: Encoder, decay: float) -> dict[nn.Parameter, float]:
    """The factor of each parameter's learning rate: 1 in the last stage, times `decay` for each stage before it."""
    stages = encoder_stages(encoder)
    return {p: decay ** (len(stages) - 1 - i) for i, stage in enumerate(stages) for p in stage.parameters()}


_LR_SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "exponential": lambda t: 0.001**t,
    "constant": lambda _: 1.0,
}


def learning_rate(config: OptimConfig, step: int, total: int) -> float:
    """The learning rate of a step: a linear rise over the warm-up, then the schedule.

    Args:
        config: schedule, warm-up share and largest rate.
        step: 0 for the first one.
        total: steps of the whole run.
    """
    warmup = config.warmup * total
    if step < warmup:
        return config.lr * (step + 1) / math.ceil(warmup)
    return config.lr * _LR_SCHEDULES[config.schedule]((step - warmup) / max(total - warmup, 1))
