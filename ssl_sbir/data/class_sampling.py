"""Random images of a class: the anchors, positives and negatives of triplets."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import DataError


@dataclass(frozen=True)
class ImagesByClass:
    """The labelled images of one domain of a run, by class.

    Attributes:
        data: the run's images.
        rows: of the labelled images, ordered by label.
        class_start: index in `rows` of each class's first image, and at the end the number of images.
    """

    data: TrainingSet
    rows: Int[Tensor, " images"]
    class_start: Int[Tensor, " ends"]

    @classmethod
    def from_training_set(cls, data: TrainingSet, domain: Domain) -> "ImagesByClass":
        """The labelled images of one domain, of every seen class.

        Raises:
            DataError: a class has none, or there are fewer than two classes.
        """
        if len(data.classes) < 2:
            raise DataError(f"one seen class, '{data.classes[0]}'", "Triplets need two: give more classes.")
        rows = torch.from_numpy(data.rows[domain])
        rows = rows[data.labels[rows] >= 0]
        labels, order = data.labels[rows].sort(stable=True)
        count = labels.bincount(minlength=len(data.classes))
        if not count.all():
            missing = data.classes[int(count.argmin())]
            raise DataError(
                f"class '{missing}' has no labelled {domain.name.lower()}",
                "One of every class and domain is needed: label more images, or use another recipe, such as sake.",
            )
        return cls(data, rows[order], torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)]))

    def sample_images(self, label: Int[Tensor, " n"]) -> Batch:
        """A random image of each of these classes, in their order."""
        first, end = self.class_start[label.cpu()], self.class_start[label.cpu() + 1]
        index = first + (torch.rand(len(label)) * (end - first)).long()
        return self.data.read_batch(self.rows[index.minimum(end - 1)].numpy())

    def sample_any_images(self, count: int) -> Batch:
        """That many random labelled images."""
        return self.data.read_batch(self.rows[torch.randint(len(self.rows), (count,))].numpy())
