"""Times `sake` against a direct implementation of its published training step: images/s in one run, and what is left.

    python scripts/bench_finetuning.py                              # 96 px, 32 + 32 images, 2 threads
    python scripts/bench_finetuning.py --data folder:Sketchy --size 224 --sketches 13 --photos 26
    python scripts/bench_finetuning.py --set optim.freeze=3         # with any setting of the recipe

The reference is a direct implementation of the paper: files opened, rotated and scaled one by one on the CPU in
DataLoader workers, float32, default memory format, the teacher applied to every view, Adam. Both train the same
encoder on batches of the same size, in turns, so that a busy machine slows both; the first steps of each turn, while
workers start, aren't counted. Without `--data` it draws smooth 256 px pictures into a temporary folder. What sake
computes once, before the first step (the pixels' pack, the teacher's logits), is reported as `once_s`.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from _timing import (
    WARM_UP_STEPS,
    StepTimes,
    add_shared_options,
    create_synthetic_data,
    largest_operators,
    print_facts,
    time_training,
    worker_cpu_seconds,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import ProjectedEncoder, load_encoder
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.memory import keep_freed_memory
from ssl_sbir.objectives.distillation import teacher_classifier


class AugmentedFiles(Dataset[tuple[Tensor, int]]):
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


def endless_domain_batches(data: AugmentedFiles, batch: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a domain without end."""
    while True:
        yield from DataLoader(
            data, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=False
        )


def train_published_sake(data: TrainingSet, options: argparse.Namespace, steps: int) -> StepTimes:
    """The marks of the published training, written out."""
    encoder = load_encoder(options.encoder, size=options.size)
    teacher = load_encoder("efficientnet_lite0", size=options.size)
    head = teacher_classifier(teacher, "efficientnet_lite0")
    embedding_head, teacher_head = svd_factorize(head, 512)
    student = ProjectedEncoder(encoder, embedding_head).train()
    class_head = nn.Linear(512, len(data.manifest.classes))
    parts = nn.ModuleList([student, teacher_head, class_head])
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-4, weight_decay=5e-4)
    sketches, photos = (
        endless_domain_batches(
            AugmentedFiles(data.manifest, data.rows[domain], options.size), count, options.workers
        )
        for domain, count in ((Domain.SKETCH, options.sketches), (Domain.PHOTO, options.photos))
    )
    domain = torch.tensor([0] * options.sketches + [1] * options.photos)
    marks = StepTimes.start_now()
    for _ in range(steps):
        (sketch, sketch_label), (photo, photo_label) = next(sketches), next(photos)
        embeddings = student(torch.cat([sketch, photo]), domain)
        with torch.no_grad():
            target = head(teacher(photo, domain[options.sketches :])).softmax(1)
        loss = F.cross_entropy(class_head(embeddings), torch.cat([sketch_label, photo_label]))
        loss = loss + F.cross_entropy(teacher_head(embeddings[options.sketches :]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        marks.record_step()
    return marks


def compare_finetuning(data: TrainingSet, options: argparse.Namespace) -> dict[str, Any]:
    """Both in turns: images per second over all counted steps, by wall clock and in CPU time."""
    steps, images = options.steps + WARM_UP_STEPS, options.sketches + options.photos
    # the published terms only, and the teacher applied to images of the size that the reference uses
    settings = [
        f"batch.sketches={options.sketches}",
        f"batch.photos={options.photos}",
        "class_distillation=0",
    ]
    settings.append(f"teacher_size={options.size}")
    wall: dict[str, list[float]] = {"reference": [], "sake": []}
    cpu: dict[str, float] = dict.fromkeys(wall, 0.0)
    views, before, profile = 0.0, [], None
    for _ in range(options.turns):
        begun = worker_cpu_seconds()
        marks = train_published_sake(data, options, steps)
        wall["reference"] += marks.step_seconds(marks.wall)
        cpu["reference"] += marks.cpu_seconds(worker_cpu_seconds() - begun, 2 * options.workers)
        marks, profile = time_training("sake", data, options, steps, settings)
        wall["sake"] += marks.step_seconds(marks.wall)
        cpu["sake"] += marks.cpu_seconds()
        views += sum(marks.views[WARM_UP_STEPS:])
        before.append(marks.before)
    facts: dict[str, Any] = {f"{name}_images_per_s": images * len(it) / sum(it) for name, it in wall.items()}
    facts["times_faster"] = facts["sake_images_per_s"] / facts["reference_images_per_s"]
    facts |= {f"{name}_cpu_ms_per_image": 1e3 * cpu[name] / len(wall[name]) / images for name in wall}
    facts["times_less_processor_time"] = cpu["reference"] / cpu["sake"]
    facts["share_of_views"] = views / sum(wall["sake"])
    facts["once_s"] = before[0]
    facts["profile"] = largest_operators(profile) if profile is not None and options.profiled else {}
    return facts


def main() -> None:
    """Prints the rates and the profile, and with `--json` one object."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_shared_options(parser, steps=20)
    parser.add_argument("--sketches", type=int, default=32)
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1, help="of each of the reference's two DataLoaders")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SSL_SBIR_CACHE", str(Path(folder) / "cache"))
        manifest = open_data(options.data or create_synthetic_data(Path(folder) / "data"))
        data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, options.size), None, labelled=True)
        facts = {"threads": options.threads, "size": options.size, **compare_finetuning(data, options)}
    print_facts(facts, options.json)


if __name__ == "__main__":
    main()
