"""The training loop: any recipe, on any device, with checkpoints that survive a crash."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.schedule import BATCH_KEYS, BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.devices import check_accelerator
from ssl_sbir.encoders import Encoder, save_encoder
from ssl_sbir.errors import ConfigError, RunError
from ssl_sbir.fusion import save_text_tower
from ssl_sbir.precision import resolve_precision
from ssl_sbir.progress import ProgressCounter, show_progress
from ssl_sbir.run import RunFolder, list_checkpoints
from ssl_sbir.seeding import repeatable_kernels, seed_everything
from ssl_sbir.training.checkpoint import load_checkpoint, save_checkpoint
from ssl_sbir.training.monitor import Monitor, MonitorFacts
from ssl_sbir.training.optim import create_optimizer, freeze_stages, learning_rate
from ssl_sbir.training.recipe import EXACT_DISTRIBUTED, Recipe
from ssl_sbir.training.training_request import DeviceConfig as DeviceConfig

LOG_STEPS = 10
logging.getLogger("lightning_fabric").setLevel(
    logging.WARNING
)  # the summary of a run names its device and precision


def fit(
    recipe: Recipe,
    encoder: Encoder,
    data: TrainingSet,
    open_run: Callable[[], RunFolder],
    device_config: DeviceConfig | None = None,
) -> Encoder:
    """Trains an encoder by a recipe, from the run's last checkpoint if it has one, and exports it.

    Args:
        recipe: method and settings.
        encoder: the starting point.
        data: images and labels the run may read.
        open_run: returns the run that receives metrics, checkpoints and the exported model. Called after all checks,
            so that an error leaves no folder behind and an existing run as it was.
        device_config: devices; a single one by default.

    Returns:
        The trained encoder, in evaluation mode, as exported to the run's `model`.

    Raises:
        RunError: the loss is not finite, or a checkpoint doesn't fit.
        DataError: a batch is larger than the data.
        ConfigError: the device is missing, or several processes can't divide the batch evenly.
    """
    batch = recipe.config.batch
    schedule = BatchSchedule.from_training_set(
        data, batch.sketches, batch.photos, recipe.config.seed, pairs=batch.pairs
    )
    fabric = _create_fabric(recipe, device_config or DeviceConfig(), encoder)
    fabric.launch()
    seed_everything(recipe.config.seed)
    _check_even_shares(schedule, fabric.world_size)
    with repeatable_kernels(fabric.device):
        state = _LoopState.from_recipe(recipe, encoder, data, fabric, schedule)
        run = open_run()
        fabric.barrier()  # no process reads a checkpoint before the first one has written the folder
        state.resume_from(run)
        if fabric.is_global_zero:
            _warn_if_inexact(recipe, fabric.world_size)
            run.forget_metrics_after(state.step)
        _run_steps(state, schedule, data, run)
    trained = state.trained_encoder()
    if fabric.is_global_zero:
        save_encoder(trained, run.path / "model", write_extra=state.save_text_side)
    fabric.barrier()
    return trained


def _check_even_shares(schedule: BatchSchedule, processes: int) -> None:
    for domain, images in schedule.sizes.items():
        if images % processes:
            raise ConfigError(
                f"{processes} processes can't share {images} {domain.name.lower()} images evenly",
                f"Make {BATCH_KEYS[domain]} a multiple of {processes}.",
            )


def _warn_if_inexact(recipe: Recipe, processes: int) -> None:
    if processes > 1 and recipe.distributed != EXACT_DISTRIBUTED:
        print(f"warning: {recipe.name} on {processes} processes: {recipe.distributed}", file=sys.stderr)


def total_steps(recipe: Recipe, schedule: BatchSchedule) -> int:
    """The number of optimiser steps of a run."""
    optim = recipe.config.optim
    steps = max(round(optim.epochs * schedule.steps_per_epoch / optim.accumulate), 1)
    return min(steps, optim.max_steps or steps)


class _LossModule(nn.Module):
    """The recipe's loss as a module's forward, so that gradients are synchronised between processes."""

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        super().__init__()
        self.recipe, self.model = recipe, model

    def forward(self, batch: Batch, device: torch.device) -> Mapping[str, Tensor]:
        # Bytes become floats only in here: Fabric rounds float inputs to the precision of the step.
        moved = batch.to(device)
        self.recipe.augment.begin_step(moved)
        return self.recipe.loss(self.model, moved)


@dataclass
class _LoopState:
    recipe: Recipe
    fabric: Fabric
    model: Any
    steps: Any
    optimizer: Any
    average: AveragedModel | None
    total: int
    frozen: list[nn.Module]
    monitor: Monitor
    step: int = 0
    seconds_waited: float = field(default=0.0)

    @classmethod
    def from_recipe(
        cls, recipe: Recipe, encoder: Encoder, data: TrainingSet, fabric: Fabric, schedule: BatchSchedule
    ) -> "_LoopState":
        model: Any = recipe.build(encoder, data.classes)
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            model = convert_sync_batchnorm(model)  # torch has none for CPUs
        model.to(device=fabric.device, memory_format=torch.channels_last)
        recipe.prepare(model, data)
        if recipe.config.compile:
            model.encoder.compile()
        optim = recipe.config.optim
        frozen = [part for stage in freeze_stages(model.encoder, optim.freeze) for part in stage.parts]
        step = _LossModule(recipe, model)
        images = sum(schedule.sizes.values()) * optim.accumulate
        steps, optimizer = fabric.setup(step, create_optimizer(step, optim, model.encoder, images))
        decay = optim.ema
        average = (
            AveragedModel(model.encoder, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
            if decay
            else None
        )
        total = total_steps(recipe, schedule)
        monitor = Monitor.for_run(recipe, data)
        return cls(recipe, fabric, model, steps, optimizer, average, total, frozen, monitor)

    def enter_training_mode(self) -> None:
        """Training mode everywhere but in the frozen stages, whose norms keep their statistics."""
        self.model.train()
        for part in self.frozen:
            part.eval()

    @property
    def saved_modules(self) -> dict[str, nn.Module]:
        return {"model": self.model} | ({"average": self.average} if self.average else {})

    def resume_from(self, run: RunFolder) -> None:
        checkpoints = list_checkpoints(run.path / "checkpoints")
        if checkpoints:
            self.step = load_checkpoint(checkpoints[-1], self.saved_modules, self.optimizer.optimizer)["step"]

    def save_state(self, run: RunFolder) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(run.path / "checkpoints", self.step, self.saved_modules, self.optimizer.optimizer)

    def observe_features(self) -> MonitorFacts:
        """The monitor's measures of the present features; warns of a collapse."""
        facts = self.monitor.measure_features(self.model.encoder, self.step)
        self.monitor.warn_of_collapse(facts, self.step)
        return facts

    def trained_encoder(self) -> Encoder:
        trained: Encoder = self.average.module if self.average else self.model.encoder  # type: ignore[assignment]
        return trained.eval()

    def save_text_side(self, folder: Path) -> None:
        """Writes the text side of the model, if it has one."""
        side = self.recipe.text_side(self.model)
        if side is not None:
            save_text_tower(side, folder)


def _run_steps(state: _LoopState, schedule: BatchSchedule, data: TrainingSet, run: RunFolder) -> None:
    config = state.recipe.config
    with show_progress(state.total, f"{state.recipe.name}", "step") as counter:
        counter.done = state.step
        started, seen = time.monotonic(), 0
        for batches in _read_step_batches(state, schedule, data):
            batches_a_step = config.optim.accumulate
            epoch, within = divmod(state.step * batches_a_step, schedule.steps_per_epoch)
            if within < batches_a_step:
                # Also before the first step of a resumed run.
                state.recipe.progress = state.step / state.total
                state.recipe.before_epoch(state.model, data, epoch)
            terms = _take_step(state, batches)
            seen += sum(len(b.row) for b in batches) * state.fabric.world_size
            _report_step(state, terms, run, counter, schedule, seen / (time.monotonic() - started), started)
            if state.step % config.checkpoint_steps == 0 or state.step == state.total:
                _check_finite_loss(terms, state.step)
                _check_finite_weights(state.model, state.step)
                state.save_state(run)


def _read_step_batches(
    state: _LoopState, schedule: BatchSchedule, data: TrainingSet
) -> Iterator[list[Batch]]:
    """The batches of each remaining step, read one step ahead; counts the time spent waiting for them."""
    accumulate, rank, world = (
        state.recipe.config.optim.accumulate,
        state.fabric.global_rank,
        state.fabric.world_size,
    )
    augment, seed = state.recipe.augment, state.recipe.config.seed

    def read_step(step: int) -> list[Batch]:
        numbers = range(step * accumulate, (step + 1) * accumulate)
        batches = [
            replace(data.read_batch(schedule.rows_of_step(n)[rank::world]), key=(seed, n, rank))
            for n in numbers
        ]
        for batch in batches:
            augment.prefetch_views(batch)
        return batches

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read_step, state.step)
        for step in range(state.step, state.total):
            started = time.monotonic()
            batches = ahead.result()
            state.seconds_waited += time.monotonic() - started
            if step + 1 < state.total:
                ahead = reader.submit(read_step, step + 1)
            yield batches


def _take_step(state: _LoopState, batches: list[Batch]) -> dict[str, Tensor]:
    config, totals = state.recipe.config.optim, dict[str, Tensor]()
    seed_everything(state.recipe.config.seed, state.step, state.fabric.global_rank)
    state.recipe.progress = state.step / state.total
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step, state.total) * group["lr_scale"]
    state.enter_training_mode()
    for i, batch in enumerate(batches):
        with state.fabric.no_backward_sync(state.steps, enabled=i + 1 < len(batches)):
            terms = state.steps(batch, state.fabric.device)
            state.fabric.backward(torch.stack(list(terms.values())).sum() / len(batches))
        for name, term in terms.items():
            totals[name] = totals.get(name, 0.0) + term.detach() / len(batches)
    if config.clip:
        state.fabric.clip_gradients(
            state.steps, state.optimizer, max_norm=config.clip, error_if_nonfinite=False
        )
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.recipe.after_step(state.model, state.step / state.total)
    if state.average is not None:
        state.average.update_parameters(state.model.encoder)
    return totals


def _report_step(
    state: _LoopState,
    terms: dict[str, Tensor],
    run: RunFolder,
    counter: ProgressCounter,
    schedule: BatchSchedule,
    rate: float,
    started: float,
) -> None:
    observe = state.fabric.is_global_zero and state.monitor.is_due(state.step, state.total)
    if state.step % LOG_STEPS and state.step != state.total and not observe:
        counter.advance(1)
        return
    _check_finite_loss(terms, state.step)
    values = {name: term.item() for name, term in terms.items()}
    elapsed = time.monotonic() - started
    epoch = state.step * state.recipe.config.optim.accumulate / schedule.steps_per_epoch
    wait = state.seconds_waited / max(elapsed, 1e-9)
    counter.advance(1, epoch=f"{epoch:.1f}", **values, images=f"{rate:.0f}/s", wait=f"{wait:.0%}")
    if state.fabric.is_global_zero:
        lr = state.optimizer.param_groups[0]["lr"]
        facts = {"step": state.step, "epoch": round(epoch, 4), "lr": lr, **values}
        facts |= {"images_per_s": round(rate, 1), "data_wait": round(wait, 4)}
        run.log_metrics({**facts, **({"monitor": state.observe_features()} if observe else {})})


def _check_finite_loss(terms: dict[str, Tensor], step: int) -> None:
    for name, term in terms.items():
        if not torch.isfinite(term):
            raise RunError(f"the loss term '{name}' is {term.item()} at step {step}", _START_OVER_HINT)


def _check_finite_weights(model: nn.Module, step: int) -> None:
    """Checks the weights before they are saved: a gradient can be infinite where its loss is finite."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise RunError(f"the weight '{name}' is not finite at step {step}", _START_OVER_HINT)


_START_OVER_HINT = "Start over with a lower learning rate: --overwrite --set optim.lr=…"


def _create_fabric(recipe: Recipe, device_config: DeviceConfig, encoder: Encoder) -> Fabric:
    check_accelerator(device_config.accelerator, device_config.devices)
    # Some weights get no gradient in some steps: a tower without images, a term without labels.
    several = device_config.devices * device_config.nodes > 1
    return Fabric(
        accelerator=device_config.accelerator,
        devices=device_config.devices,
        num_nodes=device_config.nodes,
        precision=resolve_precision(recipe.config.precision, device_config.accelerator, encoder),
        strategy="ddp_find_unused_parameters_true" if several else "auto",
    )
