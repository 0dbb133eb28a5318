"""Preservation without labels, for any recipe: codes go on telling what a frozen teacher says of a photo.

SAKE (Liu, ICCV 2019) without its classes: while another term adapts the encoder to drawings, this one keeps what
ImageNet taught it.
"""

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import Centred, Encoder, Projected, load_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.preservation import Answers, classifier_of, coded, distillation, factorised
from ssl_sbir.recipe import BatchConfig, RecipeConfig


class RecallConfig(RecipeConfig):
    """Settings of a recipe that preserves what a teacher knows."""

    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher is asked about, in pixels"
    )
    code: PositiveInt = Field(512, description="width of the embedding")
    preserve: NonNegativeFloat = Field(
        1.0, description="weight of what the teacher knows of photos; 0 leaves the term out"
    )


class Recalling(nn.Module):
    """An encoder with a code from which the teacher's answers are recalled.

    Attributes:
        encoder: what the run exports: codes, each domain about its own mean.
        recall: code → the teacher's classes.
    """

    def __init__(self, encoder: Projected, recall: nn.Linear) -> None:
        super().__init__()
        self.encoder = Centred(encoder)
        self.recall = recall

    @property
    def coded(self) -> Projected:
        """The encoder whose codes aren't centred."""
        inner = self.encoder.encoder
        assert isinstance(inner, Projected)
        return inner


class Preservation:
    """A term of a recipe's loss: cross-entropy of what codes recall with what the teacher answered.

    Args:
        config: which teacher, how wide a code.

    Raises:
        ConfigError: the teacher has no classifier, or the code is wider than its rank.
    """

    def __init__(self, config: RecallConfig) -> None:
        self.teacher = load_encoder(config.teacher, size=config.teacher_size)
        self.code, self.recall = factorised(classifier_of(self.teacher, config.teacher), config.code)
        self.weight, self.asked = config.preserve, False

    def parts(self, encoder: Encoder) -> tuple[Projected, nn.Linear]:
        """What `Recalling` is made of: the encoder with its code, and the layer that recalls."""
        return coded(encoder, self.code), self.recall

    def prepare(self, data: TrainingSet, device: str) -> None:
        """Asks the teacher about every photo, once."""
        self.asked = bool(self.weight and len(data.rows[Domain.PHOTO]))
        if self.asked:
            self.answers = Answers.of(self.teacher.to(device), data)

    def terms(
        self, recalled: Float[Tensor, "n classes"], row: Int[Tensor, " b"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted term by its name; nothing where its weight is 0 or the run has no photo.

        Args:
            recalled: logits [views · b, classes] of one or more views of the same photos, view after view.
            row: of the photos.
        """
        if not self.asked:
            return {}
        taught = self.answers(row).softmax(-1).repeat(len(recalled) // max(len(row), 1), 1)
        return {"preserve": self.weight * distillation(recalled, taught)}


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Moves a slow copy towards a module: momentum · own + (1 − momentum) · the module's, norm statistics too.

    With its statistics averaged the copy can stay in evaluation mode, where no image learns from the others of its
    batch: no shuffling is needed (EMAN; Z. Cai et al., Exponential Moving Average Normalization, CVPR 2021).
    """
    for own, other in zip(slow.state_dict().values(), fast.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(other, 1 - momentum)
        else:
            own.copy_(other)


def refuse_no_photos(recipe: str, batch: BatchConfig) -> None:
    """For recipes that learn from photos and their drawings.

    Raises:
        ConfigError: their batches hold none, or a single one, which there is nothing to tell from.
    """
    if batch.photos < 2:
        raise ConfigError(
            f"batch.photos = {batch.photos}: {recipe} learns from photos and tells them apart",
            "Give 2 or more.",
        )


def refuse_several_processes(recipe: str) -> None:
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
