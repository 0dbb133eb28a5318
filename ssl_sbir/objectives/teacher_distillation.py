"""Preservation without labels, for any recipe: codes go on telling what a frozen teacher says of a photo.

SAKE (Liu, ICCV 2019) without its classes: while another term adapts the encoder to drawings, this one keeps what
ImageNet taught it.
"""

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, Encoder, ProjectedEncoder, load_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    distillation_loss,
    svd_factorize,
    teacher_classifier,
    with_embedding_head,
)
from ssl_sbir.training.recipe import BatchConfig, RecipeConfig


class DistillationConfig(RecipeConfig):
    """Settings of a recipe that preserves what a teacher knows."""

    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher is asked about, in pixels"
    )
    embedding_dim: PositiveInt = Field(512, description="width of the embedding")
    distillation: NonNegativeFloat = Field(
        1.0, description="weight of what the teacher knows of photos; 0 leaves the term out"
    )


class DistillationModel(nn.Module):
    """An encoder with a code from which the teacher's answers are recalled.

    Attributes:
        encoder: what the run exports: codes, each domain about its own mean.
        teacher_head: code → the teacher's classes.
    """

    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear) -> None:
        super().__init__()
        self.encoder = DomainCentredEncoder(encoder)
        self.teacher_head = teacher_head

    @property
    def uncentered_encoder(self) -> ProjectedEncoder:
        """The encoder whose codes aren't centred."""
        inner = self.encoder.encoder
        assert isinstance(inner, ProjectedEncoder)
        return inner


class TeacherDistillation:
    """A term of a recipe's loss: cross-entropy of what codes recall with what the teacher answered.

    Args:
        config: which teacher, how wide a code.

    Raises:
        ConfigError: the teacher has no classifier, or the code is wider than its rank.
    """

    def __init__(self, config: DistillationConfig) -> None:
        self.teacher = load_encoder(config.teacher, size=config.teacher_size)
        self.embedding_head, self.teacher_head = svd_factorize(
            teacher_classifier(self.teacher, config.teacher), config.embedding_dim
        )
        self.weight, self.is_active = config.distillation, False

    def encoder_and_head(self, encoder: Encoder) -> tuple[ProjectedEncoder, nn.Linear]:
        """What `DistillationModel` is made of: the encoder with its code, and the layer that recalls."""
        return with_embedding_head(encoder, self.embedding_head), self.teacher_head

    def query_teacher(self, data: TrainingSet, device: str) -> None:
        """Asks the teacher about every photo, once."""
        self.is_active = bool(self.weight and len(data.rows[Domain.PHOTO]))
        if self.is_active:
            self.teacher_logits = TeacherLogits.from_teacher(self.teacher.to(device), data)

    def loss_terms(
        self, student_logits: Float[Tensor, "n classes"], row: Int[Tensor, " b"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted term by its name; nothing where its weight is 0 or the run has no photo.

        Args:
            student_logits: logits [views · b, classes] of one or more views of the same photos, view after view.
            row: of the photos.
        """
        if not self.is_active:
            return {}
        taught = self.teacher_logits(row).softmax(-1).repeat(len(student_logits) // max(len(row), 1), 1)
        return {"preserve": self.weight * distillation_loss(student_logits, taught)}


@torch.no_grad()
def update_ema(momentum_encoder: nn.Module, encoder: nn.Module, momentum: float) -> None:
    """Moves a slow copy towards a module: momentum · own + (1 − momentum) · the module's, norm statistics too.

    With its statistics averaged the copy can stay in evaluation mode, where no image learns from the others of its
    batch: no shuffling is needed (EMAN; Z. Cai et al., Exponential Moving Average Normalization, CVPR 2021).
    """
    for own, other in zip(momentum_encoder.state_dict().values(), encoder.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(other, 1 - momentum)
        else:
            own.copy_(other)


def check_has_photos(recipe: str, batch: BatchConfig) -> None:
    """For recipes that learn from photos and their drawings.

    Raises:
        ConfigError: their batches hold none, or a single one, which there is nothing to tell from.
    """
    if batch.photos < 2:
        raise ConfigError(
            f"batch.photos = {batch.photos}: {recipe} learns from photos and tells them apart",
            "Give 2 or more.",
        )


def check_single_process(recipe: str) -> None:
    """For recipes whose memory of keys lives in one process.

    Raises:
        ConfigError: there are several.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = torch.distributed.get_world_size()
        if count > 1:
            raise ConfigError(
                f"{recipe} keeps its keys in one process, {count} were asked for",
                "Leave out --devices and --nodes, or take a recipe that shares, such as simclr.",
            )
