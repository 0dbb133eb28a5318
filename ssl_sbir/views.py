"""Recipes that show the network two views of each image: their common settings, the views, and what they refuse."""

from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from ssl_sbir.augment import Augment, AugmentConfig, pseudo_sketch, random_crop
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import BATCH_KEYS, Schedule, TrainingSet
from ssl_sbir.errors import DataError
from ssl_sbir.recipe import EXACT, BatchConfig, Recipe, RecipeConfig

View = tuple[Tensor, Tensor]
LOCAL_AREA = (0.05, 0.3)


class ViewsConfig(RecipeConfig):
    """Settings of every recipe that compares two views of an image."""

    own_sketch: bool = Field(False, description="the second view of a photo is its own pseudo-sketch")
    augment: AugmentConfig = Field(
        AugmentConfig(crop=0.3, colour=0.8, grey=0.2, blur=0.3, perspective=0.2, rotation=15), description=""
    )


V = TypeVar("V", bound=ViewsConfig)


class TwoViews(Recipe[V]):
    """A recipe that compares two views of each image; its subclasses say how."""

    stage = "pretraining"
    distributed = EXACT

    def __init__(self, config: V) -> None:
        super().__init__(config)
        self.augment_part = Augment(config.augment.model_copy(update={"crop": 1.0}))

    def prepare(self, model: Any, data: TrainingSet) -> None:  # noqa: ARG002
        """Refuses a batch in which an image has no other to be told from.

        Raises:
            DataError: a batch holds a single image of a domain.
        """
        refuse_single(self.name, data, self.config.batch)

    def views(self, batch: Batch) -> tuple[View, View]:
        """Two random views of each image with their domains; with `own_sketch` a photo's second one is drawn."""
        first = self.augment(batch.image, batch.domain), batch.domain
        if not self.config.own_sketch:
            return first, (self.augment(batch.image, batch.domain), batch.domain)
        image, drawn = drawn_photos(batch)
        return first, (self.augment(image, drawn), drawn)

    def local_view(self, batch: Batch) -> View:
        """A random view of a twentieth to three tenths of each image's area, at full size, with the domains."""
        with torch.autocast(batch.image.device.type, enabled=False):
            part = random_crop(batch.image, *LOCAL_AREA)
        return self.augment_part(part, batch.domain), batch.domain


def refuse_single(recipe: str, data: TrainingSet, batch: BatchConfig) -> None:
    """For recipes that compare the images of a domain with each other.

    Raises:
        DataError: a batch holds a single image of a domain.
    """
    for domain, images in Schedule.of(data, batch.sketches, batch.photos, 0).sizes.items():
        if images < 2:
            name = domain.name.lower()
            raise DataError(
                f"{recipe} compares images with each other, and a batch holds a single {name}"
                f" ({data.manifest.name} has {len(data.rows[domain])})",
                f"Give more images, or leave these out: --set {BATCH_KEYS[domain]}=0",
            )


def drawn_photos(batch: Batch) -> View:
    """The batch's images, photos as their pseudo-sketches, and the domains: all sketches."""
    photo, image = batch.domain == Domain.PHOTO, batch.image.clone()
    with torch.autocast(image.device.type, enabled=False):
        image[photo] = pseudo_sketch(image[photo])
    return image, torch.full_like(batch.domain, int(Domain.SKETCH))
