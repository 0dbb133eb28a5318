"""SAKE: learn the seen classes of both domains, keep what ImageNet taught.

Q. Liu, L. Xie, H. Wang, A. Yuille: Semantic-Aware Knowledge Preservation for Zero-Shot Sketch-Based Image
Retrieval, ICCV 2019.

Terms
    seen_classes   cross-entropy of the sketches' and photos' seen classes.
    preserve       cross-entropy between the frozen teacher's distribution over its 1,000 ImageNet classes
                   and what the code recalls of it; photos only. With `semantics` the teacher leans towards the
                   ImageNet classes that are similar to the photo's own: softmax(distil_scale·t + nearness·A[y]).
    kinship        the same for sketches: each recalls the teacher's mean distribution over the photos of its
                   class, so that drawings find their place in ImageNet's space and not only among the seen
                   classes. Ours, not the paper's; `class_distillation=0` leaves it out.

Images without a label take part in `distillation` only; a term that no image of a batch takes part in is 0.

The code is a linear map of the pooled features, started from the singular value decomposition of the
teacher's classifier W = U S V^T: first S_d V_d^T, then U_d, so that training starts as the ImageNet network.

Departures: the teacher answers once for each photo as it is, not for each of its augmented views
(`teacher_views=true`), which saves a forward pass a step. AdamW with a warm-up and a cosine course stands in for
Adam with the exponential one. Nothing tilts the teacher unless `semantics` is given: as published it changes an odds
by a factor of 1.35 at most; `tilt=calibrated` makes it matter. All as published: `--preset sake-published`.

Run    ssl-sbir finetune sake --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/sake
       ssl-sbir finetune sake --set semantics=wordnet --data …
Cost   5,000 images at 96 px: five epochs in three minutes on 2 cores.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder, ProjectedEncoder, load_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    Tilt,
    distillation_loss,
    labelled_cross_entropy,
    svd_factorize,
    teacher_classifier,
    tilt_logits,
    with_embedding_head,
)
from ssl_sbir.objectives.semantic_losses import UnknownClasses, teacher_similarity
from ssl_sbir.training.recipe import OptimConfig, Recipe, RecipeConfig, register_recipe


class SakeConfig(RecipeConfig):
    """Settings of SAKE."""

    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher is asked about, in pixels"
    )
    teacher_views: bool = Field(
        False, description="ask the teacher about every augmented view; published: true"
    )
    embedding_dim: PositiveInt = Field(512, description="width of the embedding; published: 512 and 64")
    distillation: NonNegativeFloat = Field(1.0, description="weight of the preservation term; published: 1")
    class_distillation: NonNegativeFloat = Field(
        1.0, description="weight of the sketches' recall; published: absent (0)"
    )
    teacher_logit_scale: PositiveFloat = Field(
        1.0, description="multiplies the teacher's logits; published: 1"
    )
    semantics: str | None = Field(
        None, description="source of class similarity: wordnet, conceptnet:FILE, glove, …; published: wordnet"
    )
    similarity_weight: float = Field(
        0.3, ge=0, description="how far similarity tilts the teacher; published: .3"
    )
    tilt: Tilt = Field(
        "published",
        description="published: logits + nearness·A; calibrated: nearness is the share of the gap closed",
    )
    unknown_classes: UnknownClasses = Field(
        "refuse", description="a class that semantics doesn't know: refuse it, or no tilt"
    )
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=5e-4), description="")


class _SakeModel(nn.Module):
    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear, classes: int) -> None:
        super().__init__()
        self.encoder, self.teacher_head = encoder, teacher_head
        self.class_head = nn.Linear(encoder.width, classes)


@register_recipe("sake")
class Sake(Recipe[SakeConfig]):
    """Learn seen classes, keep what ImageNet taught."""

    Config = SakeConfig
    stage = "finetuning"
    summary = "learn seen classes, keep what ImageNet taught"
    paper = "Liu 2019"
    similarity: Tensor | None = None

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        config = self.config
        size = encoder.preprocess.size if config.teacher_views else config.teacher_size
        self.teacher = load_encoder(config.teacher, size=size).requires_grad_(False)
        self.teacher_classifier = teacher_classifier(self.teacher, config.teacher).requires_grad_(False)
        if config.semantics is not None:
            if config.tilt == "calibrated" and config.similarity_weight >= 1:
                raise ConfigError(
                    f"nearness = {config.similarity_weight}: with tilt=calibrated it's a share",
                    "Give 0 to below 1, say .3.",
                )
            answers = self.teacher_classifier.out_features
            self.similarity = teacher_similarity(config.semantics, classes, answers, config.unknown_classes)
        code, recall = svd_factorize(self.teacher_classifier, config.embedding_dim)
        return _SakeModel(with_embedding_head(encoder, code), recall, len(classes))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Asks the teacher once about every photo of the run."""
        config, device = self.config, model.recall.weight.device
        answers = TeacherLogits.from_teacher(self.teacher.to(device), data)
        answers.logits *= config.teacher_logit_scale
        if self.similarity is not None:
            answers = answers.tilt_by_similarity(data, self.similarity, config.similarity_weight, config.tilt)
        self.teacher_logits, self.class_targets = answers, answers.class_mean_targets(data)
        self.teacher_classifier.to(device)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        image = self.augment(batch.image, batch.domain)
        code = model.encoder(image, batch.domain)
        photo, known = batch.domain == Domain.PHOTO, batch.label >= 0
        recalled, drawn = model.recall(code), ~photo & known
        kin = self.class_targets[batch.label[drawn].cpu()].to(code.device)
        return {
            "seen_classes": labelled_cross_entropy(model.classify(code), batch.label),
            "preserve": self.config.distillation
            * distillation_loss(recalled[photo], self._teacher_targets(image[photo], batch, photo)),
            "kinship": self.config.class_distillation * distillation_loss(recalled[drawn], kin),
        }

    @torch.no_grad()
    def _teacher_targets(self, view: Tensor, batch: Batch, photo: Tensor) -> Tensor:
        """The teacher's distribution for each photo of a batch."""
        if not self.config.teacher_views or not len(view):
            return self.teacher_logits(batch.row[photo]).softmax(-1)
        logits = self.config.teacher_logit_scale * self.teacher_classifier(
            self.teacher(view, batch.domain[photo])
        )
        if self.similarity is not None:
            label = batch.label[photo].cpu()
            near = self.similarity[label.clamp(min=0)] * (label >= 0)[:, None]
            logits = tilt_logits(logits, near.to(logits), self.config.similarity_weight, self.config.tilt)
        return logits.softmax(-1)
