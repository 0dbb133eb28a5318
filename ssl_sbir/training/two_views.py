"""Recipes that compare two random views of each image: how the views are sampled."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from ssl_sbir.augment.kornia_views import Augment, pseudo_sketch, random_crop
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.training.recipe import EXACT_DISTRIBUTED, Recipe
from ssl_sbir.training.recipe_checks import check_batch_not_single
from ssl_sbir.training.two_views_settings import TwoViewConfig

DomainView = tuple[Tensor, Tensor]
LOCAL_CROP_AREA = (0.05, 0.3)


TwoViewConfigT = TypeVar("TwoViewConfigT", bound=TwoViewConfig)
TwoViewModelT = TypeVar("TwoViewModelT", bound=nn.Module, default=Any)


class TwoViewRecipe(Recipe[TwoViewConfigT, TwoViewModelT]):
    """A recipe that compares two views of each image; its subclasses say how."""

    stage = "pretraining"
    distributed = EXACT_DISTRIBUTED

    def __init__(self, config: TwoViewConfigT) -> None:
        super().__init__(config)
        self.local_augment = Augment(config.augment.model_copy(update={"min_crop_area": 1.0}))

    def prepare(self, model: TwoViewModelT, data: TrainingSet) -> None:  # noqa: ARG002
        """Refuses a batch that holds a single image of a domain, which has none to be compared with.

        Raises:
            DataError: a batch holds a single image of a domain.
        """
        check_batch_not_single(self.name, data, self.config.batch)

    def sample_views(self, batch: Batch) -> tuple[DomainView, DomainView]:
        """Two random views of each image with their domains; with `pseudo_sketch_view` a photo's second is a pseudo-sketch."""
        first = self.augment.view_batch(batch), batch.domain
        if not self.config.pseudo_sketch_view:
            return first, (self.augment.view_batch(batch), batch.domain)
        image, drawn = photos_to_sketches(batch)
        return first, (self.augment(image, drawn), drawn)

    def sample_local_crop(self, batch: Batch) -> DomainView:
        """A random view of a twentieth to three tenths of each image's area, at full size, with the domains."""
        with torch.autocast(batch.image.device.type, enabled=False):
            part = random_crop(batch.image, *LOCAL_CROP_AREA)
        return self.local_augment(part, batch.domain), batch.domain


def photos_to_sketches(batch: Batch) -> DomainView:
    """The batch's images, photos as their pseudo-sketches, and the domains: all sketches."""
    photo, image = batch.domain == Domain.PHOTO, batch.image.clone()
    with torch.autocast(image.device.type, enabled=False):
        image[photo] = pseudo_sketch(image[photo])
    return image, torch.full_like(batch.domain, int(Domain.SKETCH))
