"""Keeping what a classifier knows while its encoder learns something else (SAKE, ICCV 2019)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import Centred, Encoder, Projected
from ssl_sbir.errors import ConfigError
from ssl_sbir.retrieval.embeddings import embed


def factorised(classifier: nn.Linear, width: int) -> tuple[nn.Linear, nn.Linear]:
    """A classifier split in two linear layers that together are its best approximation of that rank.

    With W = U S V^T the first layer is S_d V_d^T (no bias), the second U_d with the classifier's bias
    (as in SAKE's released code: the code starts where ImageNet's knowledge lies).

    Args:
        classifier: in → classes.
        width: d, at most the smaller of both.

    Returns:
        (in → d, d → classes).

    Raises:
        ConfigError: the width is larger than the classifier's rank can be.
    """
    weight = classifier.weight.detach()
    if width > min(weight.shape):
        raise ConfigError(f"code = {width} exceeds {min(weight.shape)}, the teacher's rank", "Lower it.")
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    first = nn.Linear(weight.shape[1], width, bias=False)
    second = nn.Linear(width, weight.shape[0])
    with torch.no_grad():
        first.weight.copy_(s[:width, None] * vt[:width])
        second.weight.copy_(u[:, :width])
        second.bias.copy_(classifier.bias)
    return first, second


def classifier_of(teacher: Encoder, name: str) -> nn.Linear:
    """The teacher's ImageNet head.

    Raises:
        ConfigError: it has none.
    """
    classifier = teacher.classifier()
    if classifier is None:
        raise ConfigError(f"teacher = '{name}' has no classifier", "Choose one that has: efficientnet_lite0.")
    return classifier


def coded(encoder: Encoder, code: nn.Linear) -> Projected:
    """The encoder with a linear code on it; one that already ends in a code of that width keeps its own.

    Means that a label-free run took off are left behind: training moves them. An encoder of another width than
    the code's input gets a code started at random.
    """
    if isinstance(encoder, Centred):
        return coded(encoder.encoder, code)
    if isinstance(encoder, Projected) and encoder.width == code.out_features:
        return encoder
    fits = encoder.width == code.in_features
    return Projected(encoder, code if fits else nn.Linear(encoder.width, code.out_features, bias=False))


class Answers:
    """A teacher's logits for the photos of a run, asked once and looked up by row.

    Args:
        logits: [photos, classes].
        place: [rows of the manifest] → row of `logits`, -1 where nothing was asked.
    """

    def __init__(self, logits: Float[Tensor, "photos classes"], place: Int[Tensor, " rows"]) -> None:
        self.logits, self.place = logits, place

    def __call__(self, row: Int[Tensor, " b"]) -> Float[Tensor, "b classes"]:
        """The logits of some rows of the manifest, [b, classes], on the rows' device."""
        return self.logits[self.place[row.cpu()]].to(row.device)

    def class_means(self, data: TrainingSet) -> Float[Tensor, "seen classes"]:
        """The teacher's mean distribution over the photos of each seen class, rows in label order."""
        rows = torch.from_numpy(data.rows[Domain.PHOTO])
        labels = data.labels[rows]
        sums = torch.zeros(len(data.classes), self.logits.shape[1])
        sums.index_add_(0, labels, self.logits[self.place[rows]].softmax(-1))
        return sums / labels.bincount(minlength=len(data.classes))[:, None]

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: Encoder, data: TrainingSet) -> "Answers":
        """Asks a teacher about every photo of a run, as it is; its features come from the cache if they are there.

        Raises:
            ConfigError: the teacher has no classifier.
        """
        rows = data.rows[Domain.PHOTO]
        place = torch.full((len(data.manifest),), -1, dtype=torch.int64)
        place[torch.from_numpy(rows)] = torch.arange(len(rows))
        head = classifier_of(teacher, "teacher").cpu()
        features = embed(teacher, data.pack, data.manifest, rows, device=str(teacher.mean.device))
        return cls(head(features), place)
