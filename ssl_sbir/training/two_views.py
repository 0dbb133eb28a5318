"""Recipes that show the network two views of each image: their common settings, the views, and what they refuse."""

from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from ssl_sbir.augment.kornia_views import Augment, AugmentConfig, pseudo_sketch, random_crop
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import BATCH_KEYS, BatchSchedule, TrainingSet
from ssl_sbir.errors import DataError
from ssl_sbir.training.recipe import EXACT_DISTRIBUTED, BatchConfig, Recipe, RecipeConfig

DomainView = tuple[Tensor, Tensor]
LOCAL_CROP_AREA = (0.05, 0.3)


class TwoViewConfig(RecipeConfig):
    """Settings of every recipe that compares two views of an image."""

    pseudo_sketch_view: bool = Field(False, description="the second view of a photo is its own pseudo-sketch")
    augment: AugmentConfig = Field(
        AugmentConfig(
            min_crop_area=0.3, color_jitter=0.8, grayscale=0.2, blur=0.3, perspective=0.2, rotation=15
        ),
        description="",
    )


TwoViewConfigT = TypeVar("TwoViewConfigT", bound=TwoViewConfig)


class TwoViewRecipe(Recipe[TwoViewConfigT]):
    """A recipe that compares two views of each image; its subclasses say how."""

    stage = "pretraining"
    distributed = EXACT_DISTRIBUTED

    def __init__(self, config: TwoViewConfigT) -> None:
        super().__init__(config)
        self.local_augment = Augment(config.augment.model_copy(update={"crop": 1.0}))

    def prepare(self, model: Any, data: TrainingSet) -> None:  # noqa: ARG002
        """Refuses a batch in which an image has no other to be told from.

        Raises:
            DataError: a batch holds a single image of a domain.
        """
        check_batch_not_single(self.name, data, self.config.batch)

    def sample_views(self, batch: Batch) -> tuple[DomainView, DomainView]:
        """Two random views of each image with their domains; with `pseudo_sketch_view` a photo's second one is drawn."""
        first = self.augment(batch.image, batch.domain), batch.domain
        if not self.config.pseudo_sketch_view:
            return first, (self.augment(batch.image, batch.domain), batch.domain)
        image, drawn = photos_to_sketches(batch)
        return first, (self.augment(image, drawn), drawn)

    def sample_local_crop(self, batch: Batch) -> DomainView:
        """A random view of a twentieth to three tenths of each image's area, at full size, with the domains."""
        with torch.autocast(batch.image.device.type, enabled=False):
            part = random_crop(batch.image, *LOCAL_CROP_AREA)
        return self.local_augment(part, batch.domain), batch.domain


def check_batch_not_single(recipe: str, data: TrainingSet, batch: BatchConfig) -> None:
    """For recipes that compare the images of a domain with each other.

    Raises:
        DataError: a batch holds a single image of a domain.
    """
    for domain, images in BatchSchedule.from_training_set(
        data, batch.sketches, batch.photos, 0
    ).sizes.items():
        if images < 2:
            name = domain.name.lower()
            raise DataError(
                f"{recipe} compares images with each other, and a batch holds a single {name}"
                f" ({data.manifest.name} has {len(data.rows[domain])})",
                f"Give more images, or leave these out: --set {BATCH_KEYS[domain]}=0",
            )


def photos_to_sketches(batch: Batch) -> DomainView:
    """The batch's images, photos as their pseudo-sketches, and the domains: all sketches."""
    photo, image = batch.domain == Domain.PHOTO, batch.image.clone()
    with torch.autocast(image.device.type, enabled=False):
        image[photo] = pseudo_sketch(image[photo])
    return image, torch.full_like(batch.domain, int(Domain.SKETCH))
