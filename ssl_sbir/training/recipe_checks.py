"""Data and process counts that a recipe refuses before its first step."""

import torch

from ssl_sbir.data.schedule import BATCH_KEYS, BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.training.settings import BatchConfig


def check_batch_not_single(recipe: str, data: TrainingSet, batch: BatchConfig) -> None:
    """Checks that a recipe which compares images of a domain gets more than one per batch.

    Raises:
        DataError: a batch holds a single image of a domain.
    """
    sizes = BatchSchedule.from_training_set(data, batch.sketches, batch.photos, 0).sizes
    for domain, images in sizes.items():
        if images < 2:
            name = domain.name.lower()
            raise DataError(
                f"{recipe} compares images with each other, and a batch holds a single {name}"
                f" ({data.manifest.name} has {len(data.rows[domain])})",
                f"Give more images, or leave these out: --set {BATCH_KEYS[domain]}=0",
            )


def check_has_photos(recipe: str, batch: BatchConfig) -> None:
    """Checks that a recipe which compares photos gets more than one per batch.

    Raises:
        ConfigError: a batch holds no photo, or a single one.
    """
    if batch.photos < 2:
        raise ConfigError(
            f"batch.photos = {batch.photos}: {recipe} compares photos with each other", "Give 2 or more."
        )


def check_single_process(recipe: str) -> None:
    """Checks that a recipe whose key queue lives in one process runs in one.

    Raises:
        ConfigError: there are several processes.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = torch.distributed.get_world_size()
        if count > 1:
            raise ConfigError(
                f"{recipe} keeps its keys in one process, but {count} were started",
                "Leave out --devices and --nodes, or use a recipe that supports several, such as simclr.",
            )
