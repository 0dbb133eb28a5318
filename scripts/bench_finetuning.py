"""Times `sake` against a direct implementation of its published training step: images/s in one run, and what is left.

    python scripts/bench_finetuning.py                              # 96 px, 32 + 32 images, 2 threads
    python scripts/bench_finetuning.py --data folder:Sketchy --size 224 --sketches 13 --photos 26
    python scripts/bench_finetuning.py --set optim.freeze=3         # with any setting of the recipe

The reference is what a reader of the paper writes: files opened, turned and scaled one by one on the processor in
DataLoader workers, float32, default memory format, the teacher asked about every view, Adam. Both train the same
encoder on batches of the same size, in turns, so that a busy machine slows both; the first steps of each turn, while
workers start, aren't counted. Without `--data` it draws smooth 256 px pictures into a temporary folder. What sake
computes once, before the first step (the pixels' pack, the teacher's answers), is told as `once_s`.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from ssl_sbir import recipes
from ssl_sbir.config import parse_assignments, resolve
from ssl_sbir.data.loading import prepare
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import Projected, load_encoder
from ssl_sbir.engine import fit
from ssl_sbir.objectives.preservation import classifier_of, factorised
from ssl_sbir.recipe import Recipe
from ssl_sbir.run import RunFolder

WARM_UP = 4


def drawn_data(folder: Path, classes: int = 10, images: int = 40) -> str:
    """A folder of smooth 256 px pictures and of lines on white, as large as Sketchy's."""
    random = np.random.default_rng(0)
    for number in range(classes * images):
        name, file = f"class{number % classes}", f"{number}"
        for domain in ("photo", "sketch"):
            (folder / domain / name).mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(folder / "photo" / name / f"{file}.jpg")
        lines = np.where(random.random((256, 256)) < 0.02, 0, 255).astype(np.uint8)
        Image.fromarray(lines).save(folder / "sketch" / name / f"{file}.png")
    return f"folder:{folder}"


class Files(Dataset[tuple[Tensor, int]]):
    """Images opened and augmented one by one, as the released code does (p = .7)."""

    def __init__(self, manifest: Manifest, rows: np.ndarray, size: int) -> None:
        self.manifest, self.rows = manifest, rows
        moved = T.RandomAffine(30, translate=(10 / 224, 10 / 224), scale=(0.7, 1.3), fill=255)
        self.view = T.Compose(
            [T.Resize((size, size)), T.RandomApply([T.RandomHorizontalFlip(), moved], 0.7), T.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        row = int(self.rows[at])
        image = self.manifest.source.open(self.manifest.keys[row], 256).convert("RGB")
        return self.view(image), int(self.manifest.label[row])


def endless(data: Files, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a domain without end."""
    while True:
        yield from DataLoader(
            data, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=False
        )


def reference(data: TrainingSet, options: argparse.Namespace, steps: int) -> list[float]:
    """Seconds of each step of the published training, written out."""
    encoder = load_encoder(options.encoder, size=options.size)
    teacher = load_encoder("efficientnet_lite0", size=options.size)
    head = classifier_of(teacher, "efficientnet_lite0")
    code, recall = factorised(head, 512)
    student = Projected(encoder, code).train()
    classify = nn.Linear(512, len(data.manifest.classes))
    parts = nn.ModuleList([student, recall, classify])
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-4, weight_decay=5e-4)
    sketches, photos = (
        endless(Files(data.manifest, data.rows[domain], options.size), count, options.workers)
        for domain, count in ((Domain.SKETCH, options.sketches), (Domain.PHOTO, options.photos))
    )
    domain = torch.tensor([0] * options.sketches + [1] * options.photos)
    seconds = []
    for _ in range(steps):
        begun = time.perf_counter()
        (sketch, drawn), (photo, shown) = next(sketches), next(photos)
        codes = student(torch.cat([sketch, photo]), domain)
        with torch.no_grad():
            taught = head(teacher(photo, domain[options.sketches :])).softmax(1)
        loss = F.cross_entropy(classify(codes), torch.cat([drawn, shown]))
        loss = loss + F.cross_entropy(recall(codes[options.sketches :]), taught)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
    return seconds


def sake(data: TrainingSet, options: argparse.Namespace, steps: int) -> tuple[list[float], float, Any]:
    """Seconds of each step of the recipe in the engine, what came before the first one, and a profile of the last."""
    recipe = timed_recipe(options, steps)
    encoder = load_encoder(options.encoder, size=options.size)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, encoder, data, RunFolder.create(Path(folder) / "run", "", {}))
    marks = [recipe.started, *recipe.marks]
    return (
        [late - early for early, late in itertools.pairwise(marks)],
        marks[0] - begun,
        recipe.profile,
    )


def timed_recipe(options: argparse.Namespace, steps: int) -> Any:
    """The recipe with the settings of the benchmark; it notes when its steps end."""
    kind: Any = recipes.load("sake")

    class Timed(kind):  # type: ignore[misc]
        """sake with a clock; the last steps run under the profiler, and don't count."""

        def prepare(self, model: Any, data: TrainingSet) -> None:
            super().prepare(model, data)
            self.marks: list[float] = []
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self.started = time.perf_counter()

        def after_step(self, model: Any, progress: float) -> None:
            super().after_step(model, progress)
            taken = round(progress * (steps + options.profiled))
            if taken <= steps:
                self.marks.append(time.perf_counter())
            if taken == steps and options.profiled:
                self.profile.start()
            if taken == steps + options.profiled and options.profiled:
                self.profile.stop()

    settings = [
        f"encoder.size={options.size}",
        f"batch.sketches={options.sketches}",
        f"batch.photos={options.photos}",
        f"optim.max_steps={steps + options.profiled}",
        "optim.epochs=1000",
        "checkpoint_steps=100000",
        "kinship=0",  # the published terms only
        *(options.set or ()),
    ]
    config, _ = resolve(kind.Config, [("--set", parse_assignments(settings))])
    recipe: Recipe = Timed(config)
    return recipe


def shares(profile: torch.profiler.profile, count: int = 12) -> dict[str, float]:
    """The operators that take most of the processor's time, each with its share."""
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    largest = sorted(events, key=lambda event: -event.self_cpu_time_total)[:count]
    return {event.key: round(event.self_cpu_time_total / total, 3) for event in largest}


def measured(data: TrainingSet, options: argparse.Namespace) -> dict[str, Any]:
    """Both in turns: images a second over all counted steps."""
    steps = options.steps + WARM_UP
    images = options.sketches + options.photos
    taken: dict[str, list[float]] = {"reference": [], "sake": []}
    once, profile = [], None
    for _ in range(options.turns):
        taken["reference"] += reference(data, options, steps)[WARM_UP:]
        seconds, before, profile = sake(data, options, steps)
        taken["sake"] += seconds[WARM_UP:]
        once.append(before)
    facts: dict[str, Any] = {
        f"{name}_images_per_s": images * len(seconds) / sum(seconds) for name, seconds in taken.items()
    }
    facts["times_faster"] = facts["sake_images_per_s"] / facts["reference_images_per_s"]
    facts["once_s"] = once[0]
    facts["profile"] = shares(profile) if profile is not None and options.profiled else {}
    return facts


def main() -> None:
    """Prints the rates and the profile, and with `--json` one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="such as folder:Sketchy; without it, drawn ones")
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--sketches", type=int, default=32)
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="counted steps in a turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--profiled", type=int, default=3, help="further steps under the profiler")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="of each of the reference's two DataLoaders")
    parser.add_argument("--set", action="append", help="a setting of the recipe")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SSL_SBIR_CACHE", str(Path(folder) / "cache"))
        manifest = open_data(options.data or drawn_data(Path(folder) / "data"))
        data = TrainingSet.of(manifest, prepare(manifest, options.size), None, labelled=True)
        facts = {"threads": options.threads, "size": options.size, **measured(data, options)}
    if options.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        for key, share in value.items() if isinstance(value, dict) else [(name, value)]:
            print(f"{key:44} {share:.4g}" if isinstance(share, float) else f"{key:44} {share}")


if __name__ == "__main__":
    main()
