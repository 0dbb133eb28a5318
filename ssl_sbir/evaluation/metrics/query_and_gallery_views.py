"""Which queries and photos a protocol uses: all of both, a strided part, or one random photo per query.

Every rule is a multiplicity of each gallery item, so that all rules share one ranking of the whole gallery.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_sbir.evaluation.metrics.protocols import GalleryRule


@dataclass(frozen=True)
class GalleryView:
    """A part of the queries and of the gallery.

    Attributes:
        stride: every `stride`-th query is used.
        weights: [n] how often each item is in the gallery; None if each is there once.
        gallery_size: number of gallery items, counted with multiplicity.
    """

    stride: int
    weights: Int[Tensor, " n"] | None
    gallery_size: int

    def query_rows(self, start: int, stop: int) -> range:
        """The queries used between two indices."""
        return range(-(-start // self.stride) * self.stride, stop, self.stride)


def gallery_view(
    rule: GalleryRule,
    query_labels: Int[Tensor, " q"],
    gallery_labels: Int[Tensor, " n"],
    *,
    strides: tuple[int, int] = (20, 10),
    seed: int = 0,
) -> GalleryView:
    """The view of a gallery rule.

    Args:
        rule: `all`, `strided` or `one photo per query`.
        query_labels: [q].
        gallery_labels: [n].
        strides: of queries and of photos, for `strided`.
        seed: of the sample, for `one photo per query`.
    """
    if rule == "all":
        return GalleryView(1, None, len(gallery_labels))
    weights = torch.zeros(len(gallery_labels), dtype=torch.int32)
    if rule == "strided":
        weights[:: strides[1]] = 1
        return GalleryView(strides[0], weights.to(gallery_labels.device), int(weights.sum()))
    sampled = sample_one_photo_per_query(query_labels.cpu(), gallery_labels.cpu(), seed)
    weights.index_add_(0, sampled, torch.ones_like(sampled, dtype=torch.int32))
    return GalleryView(1, weights.to(gallery_labels.device), len(sampled))


def sample_one_photo_per_query(
    query_labels: Int[Tensor, " q"], gallery_labels: Int[Tensor, " n"], seed: int
) -> Int[Tensor, " m"]:
    """The index of one random gallery item of the same label for each query that has one, with replacement."""
    ordered, order = torch.sort(gallery_labels.long(), stable=True)
    start = torch.searchsorted(ordered, query_labels.long())
    count = torch.searchsorted(ordered, query_labels.long(), right=True) - start
    uniform = torch.rand(len(count), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return order[(start + (uniform * count).long())[count > 0]]
