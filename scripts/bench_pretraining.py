"""Times label-free pretraining against lightly's transform in a DataLoader: images/s in one run, and where time goes.

    python scripts/bench_pretraining.py                              # 96 px, 64 photos a step, 2 threads
    python scripts/bench_pretraining.py --data folder:archive --size 128 --batch 128
    python scripts/bench_pretraining.py --set augment.backend=torchvision

Ours: pixels from the pack, moved as bytes, views by kornia in batches, the recipe `simclr` in the engine. The
reference: lightly's `SimCLRTransform` on image files in a DataLoader's workers, lightly's head and loss, AdamW, float32
in the default memory format. Both train the same encoder on as many photos per step, with the same changes (crop,
flip, colour, grey, blur) as strong as lightly's, in turns, so that a busy machine slows both; the first steps of each
turn aren't counted. CPU time counts every core and both sides' workers. Without `--data` it draws smooth 256 px
pictures into a temporary folder. What ours computes once, the pack, is reported as `pack_s`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _timing import (
    WARM_UP_STEPS,
    StepTimes,
    add_shared_options,
    create_synthetic_data,
    domain_image_keys,
    largest_operators,
    print_facts,
    time_training,
    worker_cpu_seconds,
)
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.memory import keep_freed_memory

LIGHTLY_AUGMENTATION = (
    "min_crop_area=0.08",
    "color_jitter=1",
    "grayscale=0.2",
    "blur=0.5",
    "flip=0.5",
    "rotation=0",
    "shift=0",
    "zoom=0",
)


class LightlyPhotos(Dataset[list[Tensor]]):
    """Two of lightly's views of each file."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files = files
        self.views = SimCLRTransform(input_size=size, normalize=None)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> list[Tensor]:
        with Image.open(self.files[at]) as image:
            views: Any = self.views(image.convert("RGB"))
        return views


def endless_view_batches(data: LightlyPhotos, options: argparse.Namespace) -> Iterator[list[Tensor]]:
    """Batches of two views without end."""
    while True:
        yield from DataLoader(data, options.batch, shuffle=True, drop_last=True, num_workers=options.workers)


def train_lightly_simclr(data: TrainingSet, options: argparse.Namespace, steps: int) -> StepTimes:
    """The marks of lightly's pipeline; `views` is what a step waited for its loader."""
    encoder = load_encoder(options.encoder, size=options.size).train()
    head = SimCLRProjectionHead(encoder.width, encoder.width, 128)
    optimizer = torch.optim.AdamW(nn.ModuleList([encoder, head]).parameters(), lr=3e-4, weight_decay=1e-4)
    contrast, domain = NTXentLoss(temperature=0.1), torch.ones(options.batch, dtype=torch.int64)
    files = [data.manifest.source.path(key) for key in domain_image_keys(data, Domain.PHOTO)]
    batches = endless_view_batches(LightlyPhotos([file for file in files if file], options.size), options)
    marks = StepTimes.start_now()
    for _ in range(steps):
        begun = time.perf_counter()
        first, second = next(batches)
        waited = time.perf_counter() - begun
        loss = contrast(head(encoder(first, domain)), head(encoder(second, domain)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        marks.record_step(waited)
    return marks


def compare_pretraining(data: TrainingSet, options: argparse.Namespace) -> dict[str, Any]:
    """Both in turns: images per second over all counted steps, by wall clock and in CPU time."""
    steps = options.steps + WARM_UP_STEPS
    settings = [
        f"batch.photos={options.batch}",
        "batch.sketches=0",
        *(f"augment.{it}" for it in LIGHTLY_AUGMENTATION),
    ]
    wall: dict[str, float] = {"lightly": 0.0, "ours": 0.0}
    cpu, views, profile = dict(wall), dict(wall), None
    for _ in range(options.turns):
        for name in wall:
            begun = worker_cpu_seconds()
            if name == "lightly":
                marks = train_lightly_simclr(data, options, steps)
                cpu[name] += marks.cpu_seconds(worker_cpu_seconds() - begun, 2 * options.workers)
            else:
                marks, profile = time_training("simclr", data, options, steps, settings)
                cpu[name] += marks.cpu_seconds()
            wall[name] += sum(marks.step_seconds(marks.wall))
            views[name] += sum(marks.views[WARM_UP_STEPS:])
    images = options.turns * options.steps * options.batch
    facts: dict[str, Any] = {f"{name}_images_per_s": images / spent for name, spent in wall.items()}
    facts["times_faster"] = wall["lightly"] / wall["ours"]
    facts |= {f"{name}_cpu_ms_per_image": 1e3 * spent / images for name, spent in cpu.items()}
    facts["times_less_processor_time"] = cpu["lightly"] / cpu["ours"]
    facts["lightly_share_of_waiting_for_views"] = views["lightly"] / wall["lightly"]
    facts["ours_share_of_views"] = views["ours"] / wall["ours"]
    facts["profile"] = largest_operators(profile) if profile is not None and options.profiled else {}
    return facts


def main() -> None:
    """Prints the rates and the profile, and with `--json` one object."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_shared_options(parser, steps=8)
    parser.add_argument("--batch", type=int, default=64, help="photos in a step, two views of each")
    parser.add_argument("--workers", type=int, default=2, help="of the reference's DataLoader")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SSL_SBIR_CACHE", str(Path(folder) / "cache"))
        manifest = open_data(options.data or create_synthetic_data(Path(folder) / "data", domains=("photo",)))
        begun = time.perf_counter()
        pack = prepare_pack(manifest, options.size)
        facts = {"threads": options.threads, "size": options.size, "pack_s": time.perf_counter() - begun}
        facts |= compare_pretraining(TrainingSet.from_manifest(manifest, pack, None, labelled=False), options)
    print_facts(facts, options.json)


if __name__ == "__main__":
    main()
