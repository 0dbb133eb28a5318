"""Distillation of a frozen classifier's knowledge while an encoder learns something else (SAKE, ICCV 2019)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, Encoder, ProjectedEncoder
from ssl_sbir.encoders.embed import embed_rows, embed_rows_at_native_size
from ssl_sbir.errors import ConfigError
from ssl_sbir.group_means import group_means
from ssl_sbir.objectives.choices import Tilt


def teacher_classifier(teacher: Encoder, name: str) -> nn.Linear:
    """The teacher's ImageNet head.

    Raises:
        ConfigError: it has none.
    """
    classifier = teacher.classifier()
    if classifier is None:
        raise ConfigError(f"teacher = '{name}' has no classifier", "Choose one that has: efficientnet_lite0.")
    return classifier


def with_embedding_head(encoder: Encoder, head: nn.Linear) -> ProjectedEncoder:
    """The encoder with a linear embedding layer; one that already ends in one of that width keeps its own.

    The subtraction of domain means of a label-free run is left out, since training changes them. An encoder of another
    width than the head's input gets a head with random weights.
    """
    if isinstance(encoder, DomainCentredEncoder):
        return with_embedding_head(encoder.encoder, head)
    if isinstance(encoder, ProjectedEncoder) and encoder.width == head.out_features:
        return encoder
    fits = encoder.width == head.in_features
    return ProjectedEncoder(
        encoder, head if fits else nn.Linear(encoder.width, head.out_features, bias=False)
    )


def tilt_logits(
    logits: Float[Tensor, "b classes"],
    similarity: Float[Tensor, "b classes"],
    similarity_weight: float,
    tilt: Tilt,
) -> Float[Tensor, "b classes"]:
    """A teacher's logits, tilted towards the classes that are similar to each row's known class.

    `published` (SAKE): t + similarity_weight · A. As A lies in 0..1, no odds grow by more than a factor
    exp(similarity_weight), 1.35 at .3; the narrower the range of a source's similarities, the smaller the effect.
    `calibrated` (ours): t + beta · A, with a beta for each row such that its expected similarity closes the fraction
    `similarity_weight` of the gap to the row's largest similarity. Of all distributions with that expectation it is the
    closest to the teacher's (an exponential tilt); a source's scale doesn't matter.

    Args:
        logits: the teacher's logits.
        similarity: similarity of each row's known class to the teacher's classes, 0 to 1; a constant row, such as
            that of an unknown class, has no effect.
        similarity_weight: weight of the similarity (published: .3); in calibrated form a fraction, 0 to below 1.
        tilt: which form.
    """
    if tilt == "published":
        return logits + similarity_weight * similarity
    lowest, highest = similarity.amin(1, keepdim=True), similarity.amax(1, keepdim=True)
    scaled = (similarity - lowest) / (highest - lowest).clamp(min=1e-9)
    expected = (logits.softmax(1) * scaled).sum(1, keepdim=True)
    target = torch.where(highest > lowest, expected + similarity_weight * (1 - expected), 0.0)
    low, high = torch.zeros_like(target), torch.full_like(target, 1024.0)
    for _ in range(40):  # halves the interval: the expectation grows with beta
        beta = (low + high) / 2
        short = ((logits + beta * scaled).softmax(1) * scaled).sum(1, keepdim=True) < target
        low, high = torch.where(short, beta, low), torch.where(short, high, beta)
    return logits + low * scaled


def distillation_loss(
    student_logits: Float[Tensor, "b classes"], target: Float[Tensor, "b classes"]
) -> Float[Tensor, ""]:
    """The mean cross-entropy of a student's logits with target distributions; 0 without images."""
    return -(target * student_logits.float().log_softmax(-1)).sum() / max(len(student_logits), 1)


def labelled_cross_entropy(logits: Float[Tensor, "b classes"], label: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of the labelled images; 0 if there are none.

    Args:
        logits: logits of every image.
        label: class of each image; -1 if unknown.
    """
    total = F.cross_entropy(logits.float(), label, ignore_index=-1, reduction="sum")
    return total / (label >= 0).sum().clamp(min=1)


class TeacherLogits:
    """A teacher's logits of a run's photos, computed once and looked up by row.

    Args:
        logits: [photos, classes].
        logit_index: index in `logits` of each row of the manifest; -1 for other images.
    """

    def __init__(self, logits: Float[Tensor, "photos classes"], logit_index: Int[Tensor, " rows"]) -> None:
        self.logits, self.logit_index = logits, logit_index

    def __call__(self, row: Int[Tensor, " b"]) -> Float[Tensor, "b classes"]:
        """The logits of some rows of the manifest, [b, classes], on the device of `row`."""
        return self.logits[self.logit_index[row.cpu()]].to(row.device)

    def class_mean_targets(self, data: TrainingSet) -> Float[Tensor, "seen classes"]:
        """The teacher's mean distribution over the labelled photos of each seen class, in label order; 0 without photos."""
        rows = torch.from_numpy(data.rows[Domain.PHOTO])
        rows = rows[data.labels[rows] >= 0]
        return group_means(
            self.logits[self.logit_index[rows]].softmax(-1), data.labels[rows], len(data.classes)
        )

    def tilt_by_similarity(
        self,
        data: TrainingSet,
        similarity: Float[Tensor, "seen classes"],
        similarity_weight: float,
        tilt: Tilt,
    ) -> "TeacherLogits":
        """Logits of the labelled photos tilted towards classes similar to their own (see `tilt_logits`)."""
        rows = torch.from_numpy(data.rows[Domain.PHOTO])
        rows = rows[data.labels[rows] >= 0]
        logits = self.logits.clone()
        for part in rows.split(4096):
            index = self.logit_index[part]
            logits[index] = tilt_logits(logits[index], similarity[data.labels[part]], similarity_weight, tilt)
        return TeacherLogits(logits, self.logit_index)

    @classmethod
    @torch.no_grad()
    def from_teacher(cls, teacher: Encoder, data: TrainingSet) -> "TeacherLogits":
        """A teacher's logits of every photo of a run, unaugmented, at the teacher's own image size.

        Raises:
            ConfigError: the teacher has no classifier.
        """
        head = teacher_classifier(teacher, "teacher").cpu()
        return cls(head(teacher_photo_features(teacher, data)), data.index_by_row(Domain.PHOTO))


def teacher_photo_features(teacher: Encoder, data: TrainingSet) -> Float[Tensor, "photos width"]:
    """A frozen teacher's features of a run's photos at its own image size, cached."""
    rows, device = data.rows[Domain.PHOTO], str(teacher.mean.device)
    if teacher.preprocess.size == data.pack.size:
        return embed_rows(teacher, data.pack, data.manifest, rows, device=device)
    return embed_rows_at_native_size(teacher, data.manifest, rows, device=device)
