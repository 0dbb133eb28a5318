"""Keeping what a classifier knows while its encoder learns something else (SAKE, ICCV 2019)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import Centred, Encoder, Projected
from ssl_sbir.errors import ConfigError
from ssl_sbir.grouped import means_by
from ssl_sbir.retrieval.embeddings import embed, embed_at_own_size


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


Tilt = Literal["published", "calibrated"]


def tilted(
    logits: Float[Tensor, "b classes"], similarity: Float[Tensor, "b classes"], nearness: float, tilt: Tilt
) -> Float[Tensor, "b classes"]:
    """A teacher's logits, leaning towards the classes that are similar to what is known to be shown.

    `published` (SAKE): t + nearness · A. As A lies in 0..1, no odds grow by more than exp(nearness): 1.35 at .3,
    which moves little, and less the narrower a source's similarities lie together.
    `calibrated` (ours): t + beta · A, with the beta of each row by which its expected similarity rises by the share
    `nearness` of what is missing to the row's largest one. Of all distributions with that expectation it's the
    closest to the teacher's (an exponential tilt), and any source of similarity, whatever its scale, tilts as much.

    Args:
        logits: the teacher's.
        similarity: of each row's known class to the teacher's classes, 0 to 1; a row that is constant, such as
            that of an unknown class, tilts nothing.
        nearness: weight of the similarity (published: .3); in calibrated form a share, 0 to below 1.
        tilt: which form.
    """
    if tilt == "published":
        return logits + nearness * similarity
    lowest, highest = similarity.amin(1, keepdim=True), similarity.amax(1, keepdim=True)
    scaled = (similarity - lowest) / (highest - lowest).clamp(min=1e-9)
    expected = (logits.softmax(1) * scaled).sum(1, keepdim=True)
    wanted = torch.where(highest > lowest, expected + nearness * (1 - expected), 0.0)
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 1024.0)
    for _ in range(40):  # halves the interval: the expectation grows with beta
        beta = (low + high) / 2
        short = ((logits + beta * scaled).softmax(1) * scaled).sum(1, keepdim=True) < wanted
        low, high = torch.where(short, beta, low), torch.where(short, high, beta)
    return logits + low * scaled


def distillation(
    recalled: Float[Tensor, "b classes"], target: Float[Tensor, "b classes"]
) -> Float[Tensor, ""]:
    """The mean cross-entropy of recalled logits with a target distribution; 0 where there is no image."""
    return -(target * recalled.float().log_softmax(-1)).sum() / max(len(recalled), 1)


def labelled_cross_entropy(logits: Float[Tensor, "b classes"], label: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of the images that have a label; 0 where none has.

    Args:
        logits: of every image.
        label: -1 where it isn't known.
    """
    total = F.cross_entropy(logits.float(), label, ignore_index=-1, reduction="sum")
    return total / (label >= 0).sum().clamp(min=1)


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
        """The teacher's mean distribution over the labelled photos of each seen class, in label order; 0 without."""
        rows = torch.from_numpy(data.rows[Domain.PHOTO])
        rows = rows[data.labels[rows] >= 0]
        return means_by(self.logits[self.place[rows]].softmax(-1), data.labels[rows], len(data.classes))

    def tilted(
        self, data: TrainingSet, similarity: Float[Tensor, "seen classes"], nearness: float, tilt: Tilt
    ) -> "Answers":
        """The same, each labelled photo's logits leaning towards what is similar to its class (see `tilted`)."""
        rows = torch.from_numpy(data.rows[Domain.PHOTO])
        rows = rows[data.labels[rows] >= 0]
        logits = self.logits.clone()
        for part in rows.split(4096):
            at = self.place[part]
            logits[at] = tilted(logits[at], similarity[data.labels[part]], nearness, tilt)
        return Answers(logits, self.place)

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: Encoder, data: TrainingSet) -> "Answers":
        """Asks a teacher about every photo of a run, as it is, at the teacher's own image size.

        Raises:
            ConfigError: the teacher has no classifier.
        """
        head = classifier_of(teacher, "teacher").cpu()
        return cls(head(photo_features(teacher, data)), data.places(Domain.PHOTO))


def photo_features(teacher: Encoder, data: TrainingSet) -> Float[Tensor, "photos width"]:
    """A frozen teacher's features of a run's photos at its own image size, from the cache if they are there."""
    rows, device = data.rows[Domain.PHOTO], str(teacher.mean.device)
    if teacher.preprocess.size == data.pack.size:
        return embed(teacher, data.pack, data.manifest, rows, device=device)
    return embed_at_own_size(teacher, data.manifest, rows, device=device)
