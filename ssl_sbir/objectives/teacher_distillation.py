"""Distillation without labels, for any recipe: embeddings keep predicting a frozen teacher's classes of a photo.

SAKE (Liu, ICCV 2019) without its classes: while another term adapts the encoder to drawings, this one keeps its
ImageNet knowledge.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, Encoder, ProjectedEncoder, load_encoder
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    distillation_loss,
    teacher_classifier,
    with_embedding_head,
)
from ssl_sbir.objectives.distillation_settings import DistillationConfig


class DistillationModel(nn.Module):
    """An encoder with a head that predicts the teacher's classes from its embeddings.

    Attributes:
        encoder: exported by the run; subtracts each domain's mean from its embeddings.
        teacher_head: embedding → logits of the teacher's classes.
    """

    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear) -> None:
        super().__init__()
        self.encoder = DomainCentredEncoder(encoder)
        self.teacher_head = teacher_head

    @property
    def uncentered_encoder(self) -> ProjectedEncoder:
        """The encoder without the subtraction of the domains' means."""
        inner = self.encoder.encoder
        assert isinstance(inner, ProjectedEncoder)
        return inner


class TeacherDistillation:
    """A loss term: cross-entropy of the student's predicted classes with the teacher's.

    Args:
        config: teacher and width of the embedding.

    Raises:
        ConfigError: the teacher has no classifier, or the embedding is wider than its rank.
    """

    def __init__(self, config: DistillationConfig) -> None:
        self.teacher = load_encoder(config.teacher, size=config.teacher_size)
        self.embedding_head, self.teacher_head = svd_factorize(
            teacher_classifier(self.teacher, config.teacher), config.embedding_dim
        )
        self.weight, self.is_active = config.distillation, False

    def encoder_and_head(self, encoder: Encoder) -> tuple[ProjectedEncoder, nn.Linear]:
        """The parts of a `DistillationModel`: the encoder with its embedding layer, and the teacher head."""
        return with_embedding_head(encoder, self.embedding_head), self.teacher_head

    def query_teacher(self, data: TrainingSet, device: str) -> None:
        """Computes the teacher's logits of every photo, once."""
        self.is_active = bool(self.weight and len(data.rows[Domain.PHOTO]))
        if self.is_active:
            self.teacher_logits = TeacherLogits.from_teacher(self.teacher.to(device), data)

    def loss_terms(
        self, student_logits: Float[Tensor, "n classes"], row: Int[Tensor, " b"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted term by its name; empty where its weight is 0 or the run has no photo.

        Args:
            student_logits: logits [views · b, classes] of one or more views of the same photos, view after view.
            row: the photos' rows in the manifest.
        """
        if not self.is_active:
            return {}
        target = self.teacher_logits(row).softmax(-1).repeat(len(student_logits) // max(len(row), 1), 1)
        return {"distillation": self.weight * distillation_loss(student_logits, target)}


@torch.no_grad()
def update_ema(momentum_encoder: nn.Module, encoder: nn.Module, momentum: float) -> None:
    """Sets a copy's weights and norm statistics to momentum · own + (1 − momentum) · the module's.

    With averaged statistics the copy can stay in evaluation mode, where an image's output doesn't depend on the others
    of its batch, so no shuffling is needed (EMAN; Z. Cai et al., Exponential Moving Average Normalization, CVPR 2021).
    """
    for own, other in zip(momentum_encoder.state_dict().values(), encoder.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(other, 1 - momentum)
        else:
            own.copy_(other)
