"""Positives mined by another view of the data, among keys of earlier batches (CoCLR).

T. Han, W. Xie, A. Zisserman: Self-supervised Co-training for Video Representation Learning, NeurIPS 2020.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """The latest keys of one or more views of the same images; the oldest are overwritten first.

    It starts with random directions, as MoCo's does, which serve as negatives from the first step on.

    Attributes:
        keys: unit vectors [views, size, width].
        row: manifest rows of their images; -1 for a random key.
        pointer: index of the next key to overwrite.
        fresh: number of keys added since `mark_stale`.
    """

    keys: Tensor
    row: Tensor
    pointer: Tensor
    fresh: Tensor

    def __init__(self, views: int, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(views, size, width), dim=2))
        self.register_buffer("row", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fresh", torch.zeros((), dtype=torch.int64))

    @property
    def is_full(self) -> bool:
        """Whether every key was added since `mark_stale`."""
        return int(self.fresh) >= len(self.row)

    def mark_stale(self) -> None:
        """Marks every key as stale: the keys stay as negatives, but the queue isn't full until all are replaced."""
        self.fresh.zero_()

    @torch.no_grad()
    def enqueue_keys(self, keys: Float[Tensor, "views b width"], row: Int[Tensor, " b"]) -> None:
        """Adds the keys of a batch, which is no longer than the queue."""
        index = (self.pointer + torch.arange(len(row), device=row.device)) % len(self.row)
        self.keys[:, index] = keys.float()
        self.row[index] = row
        self.pointer.copy_((self.pointer + len(row)) % len(self.row))
        self.fresh += len(row)


def mine_positives(
    similarity: Float[Tensor, "b size"] | None, same: Bool[Tensor, "b size"], neighbours: int
) -> Bool[Tensor, "b keys"]:
    """Which keys are positives of each image: first its own new key, then those of the queue.

    Positives in the queue are earlier keys of the same image, and the `neighbours` other images that are most similar
    by the other view (§3.2).

    Args:
        similarity: cosines of the other view's keys with its part of the queue; None while nothing is mined.
        same: which of the queue's keys are of the same image.
        neighbours: number of positives to mine.
    """
    positive = same
    if similarity is not None:
        nearest = similarity.masked_fill(same, -math.inf).topk(min(neighbours, same.shape[1])).indices
        positive = same.scatter(1, nearest, True)
    return torch.cat([torch.ones_like(positive[:, :1]), positive], 1)


def drop_own_key(positive: Bool[Tensor, "b keys"]) -> Bool[Tensor, "b keys"]:
    """The positives without each image's own new key, if it has others: an easy positive teaches little."""
    positive = positive.clone()
    positive[:, 0] = ~positive[:, 1:].any(1)
    return positive


def multi_positive_info_nce(
    query: Float[Tensor, "b width"],
    own_key: Float[Tensor, "b width"],
    queue: Float[Tensor, "size width"],
    positive: Bool[Tensor, "b keys"],
    temperature: float,
) -> Float[Tensor, ""]:
    """The mean −log of the total probability of all positives (equation 2). With one positive: InfoNCE.

    Args:
        query: features of the images; normalised here.
        own_key: new keys of the same images, unit vectors.
        queue: earlier keys, unit vectors.
        positive: which keys are positives, the own key first.
        temperature: divides the cosines.
    """
    query = F.normalize(query.float(), dim=1)
    logits = torch.cat([(query * own_key).sum(1, keepdim=True), query @ queue.T], 1) / temperature
    positive_logits = logits.masked_fill(~positive, -math.inf)
    return (logits.logsumexp(1) - positive_logits.logsumexp(1)).mean()
