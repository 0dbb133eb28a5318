"""Parts that the benchmarks of training share: synthetic data, a timed recipe, rates and a profile."""

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ssl_sbir import recipes
from ssl_sbir.config import parse_assignments, resolve_config
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.run import RunFolder
from ssl_sbir.training.loop import fit
from ssl_sbir.training.recipe import Recipe

WARM_UP_STEPS = 3


def create_synthetic_data(
    folder: Path, classes: int = 10, images: int = 40, domains: Sequence[str] = ("photo", "sketch")
) -> str:
    """A folder of smooth 256 px photos and of black dots on white as sketches; returns its data spec."""
    random = np.random.default_rng(0)
    for number in range(classes * images):
        name, file = f"class{number % classes}", f"{number}"
        for domain in domains:
            (folder / domain / name).mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(folder / "photo" / name / f"{file}.jpg")
        if "sketch" in domains:
            lines = np.where(random.random((256, 256)) < 0.02, 0, 255).astype(np.uint8)
            Image.fromarray(lines).save(folder / "sketch" / name / f"{file}.png")
    return f"folder:{folder}"


def worker_cpu_seconds() -> float:
    """Processor time of all child processes that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


@dataclass
class StepTimes:
    """The ends of steps, in wall-clock time and processor time of this process.

    Attributes:
        wall: seconds; the first is the start of the first step.
        cpu: likewise.
        views: wall-clock seconds that each step spent on augmentation.
        before: seconds before the first step.
    """

    wall: list[float]
    cpu: list[float]
    views: list[float]
    before: float = 0.0

    @classmethod
    def start_now(cls) -> "StepTimes":
        """The times of a run whose first step begins now."""
        return cls([time.perf_counter()], [time.process_time()], [])

    def record_step(self, views: float = 0.0) -> None:
        """Records the end of a step."""
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.views.append(views)

    def cpu_seconds(self, workers: float = 0.0, waiting: int = 0) -> float:
        """Processor seconds of the counted steps.

        Args:
            workers: seconds of the workers, over all steps and the batches that were left over.
            waiting: number of batches left over.
        """
        own, steps = self.step_seconds(self.cpu), len(self.views)
        return sum(own) + workers * len(own) / (steps + waiting)

    def step_seconds(self, which: Sequence[float]) -> list[float]:
        """The duration of each counted step."""
        return [late - early for early, late in itertools.pairwise(which)][WARM_UP_STEPS:]


def time_training(
    name: str, data: TrainingSet, options: argparse.Namespace, steps: int, settings: Sequence[str]
) -> tuple[StepTimes, Any]:
    """The times of some steps of a recipe in the training loop, and a profile of the steps after them."""
    recipe = _build_timed_recipe(name, options, steps, settings)
    encoder = load_encoder(options.encoder, size=options.size)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, encoder, data, lambda: RunFolder.create(Path(folder) / "run", "", {}))
    recipe.marks.before = recipe.marks.wall[0] - start
    return recipe.marks, recipe.profile


class _TimedAugmentation:
    """A recipe's augmentation that adds its duration to the recipe's `view_seconds`."""

    def __init__(self, recipe: Any) -> None:
        self.recipe, self.augment = recipe, recipe.augment
        self.prefetch_views, self.begin_step = self.augment.prefetch_views, self.augment.begin_step

    def __call__(self, image: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """The views, timed."""
        return self._time_views(self.augment, image, domain)

    def view_batch(self, batch: Batch) -> torch.Tensor:
        """The views of a batch, timed."""
        return self._time_views(self.augment.view_batch, batch)

    def _time_views(self, create_views: Callable[..., torch.Tensor], *inputs: Any) -> torch.Tensor:
        start = time.perf_counter()
        views = create_views(*inputs)
        self.recipe.view_seconds += time.perf_counter() - start
        return views


def _build_timed_recipe(name: str, options: argparse.Namespace, steps: int, settings: Sequence[str]) -> Any:
    kind: Any = recipes.load_recipe(name)

    class TimedRecipe(kind):  # type: ignore[misc]
        """The recipe with timed steps; the last steps run under the profiler and aren't timed."""

        marks: StepTimes
        view_seconds: float
        profile: Any
        augment: Any

        def prepare(self, model: Any, data: TrainingSet) -> None:
            super().prepare(model, data)
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self.view_seconds = 0.0
            self.augment = _TimedAugmentation(self)
            self.marks = StepTimes.start_now()

        def after_step(self, model: Any, progress: float) -> None:
            super().after_step(model, progress)
            taken = round(progress * (steps + options.profiled))
            if taken <= steps:
                self.marks.record_step(self.view_seconds)
                self.view_seconds = 0.0
            if taken == steps and options.profiled:
                self.profile.start()
            if taken == steps + options.profiled and options.profiled:
                self.profile.stop()

    assignments = [
        f"encoder.size={options.size}",
        f"optim.max_steps={steps + options.profiled}",
        "optim.epochs=1000",
        "checkpoint_steps=100000",
        *settings,
        *(options.set or ()),
    ]
    config, _ = resolve_config(kind.Config, [("--set", parse_assignments(assignments))])
    recipe: Recipe = TimedRecipe(config)
    return recipe


def largest_operators(profile: torch.profiler.profile, count: int = 12) -> dict[str, float]:
    """The operators with the largest shares of processor time."""
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    largest = sorted(events, key=lambda event: -event.self_cpu_time_total)[:count]
    return {event.key: round(event.self_cpu_time_total / total, 3) for event in largest}


def add_shared_options(parser: argparse.ArgumentParser, steps: int) -> None:
    """Adds the options of both benchmarks."""
    parser.add_argument("--data", help="such as folder:Sketchy; default: synthetic data")
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=steps, help="counted steps per turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--profiled", type=int, default=3, help="further steps under the profiler")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", help="a setting of the recipe")
    parser.add_argument("--json", action="store_true")


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Prints one JSON object, or a line for each fact."""
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        for key, share in value.items() if isinstance(value, dict) else [(name, value)]:
            print(f"{key:44} {share:.4g}" if isinstance(share, float) else f"{key:44} {share}")


def domain_image_keys(data: TrainingSet, domain: Domain) -> list[str]:
    """The keys of a run's images of a domain."""
    return [data.manifest.keys[int(row)] for row in data.rows[domain]]
