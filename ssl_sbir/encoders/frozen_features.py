"""A frozen encoder's features of all images of a run, computed once."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.encoders.encoder import Encoder


@dataclass(frozen=True)
class FrozenFeatures:
    """A frozen encoder's features of the n images of a run.

    Attributes:
        vectors: a row for each image.
        domain: of each image.
        label: of each image; −1 where it is unknown.
        row_to_index: for each row of the manifest, its index among these images, or 0.
    """

    vectors: Float[Tensor, "n inner"]
    domain: Int[Tensor, " n"]
    label: Int[Tensor, " n"]
    row_to_index: Int[Tensor, " rows"]

    @classmethod
    def from_training_set(cls, encoder: Encoder, data: TrainingSet) -> "FrozenFeatures":
        """The features of all images of a run, read from the cache of embeddings if they are there."""
        device = next(encoder.parameters()).device
        rows = np.sort(np.concatenate(list(data.rows.values())))
        vectors = embed_rows(encoder, data.pack, data.manifest, rows, device=str(device))
        row_to_index = torch.zeros(len(data.manifest), dtype=torch.int64)
        row_to_index[rows] = torch.arange(len(rows))
        domain = torch.from_numpy(data.manifest.domain[rows].astype(np.int64))
        return cls(vectors, domain, data.labels[rows], row_to_index)

    def to(self, device: torch.device) -> "FrozenFeatures":
        """A copy on a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})
