"""SAKE: learn the seen classes of both domains and keep the ImageNet knowledge.

Q. Liu, L. Xie, H. Wang, A. Yuille: Semantic-Aware Knowledge Preservation for Zero-Shot Sketch-Based Image
Retrieval, ICCV 2019.

Terms
    seen_classes         cross-entropy of the seen classes of sketches and photos.
    distillation         cross-entropy between the frozen teacher's distribution over its 1,000 ImageNet classes and
                         the one predicted from the embedding; photos only. With `semantics` the teacher is tilted
                         towards the ImageNet classes similar to the photo's own:
                         softmax(teacher_logit_scale·t + similarity_weight·A[y]).
    class_distillation   the same for sketches: the target is the teacher's mean distribution over the photos of the
                         sketch's class, so that sketches are placed in ImageNet's space and not only among the seen
                         classes. Ours, not the paper's; `class_distillation=0` leaves it out.

Images without a label take part in `distillation` only; a term without images in a batch is 0.

The embedding is a linear map of the pooled features, initialised from the singular value decomposition of the
teacher's classifier W = U S V^T: first S_d V_d^T, then U_d, so that training starts as the ImageNet network.

Departures: the teacher classifies each photo once, unaugmented, not every augmented view (`teacher_views=true`), which
saves a forward pass per step. AdamW with a warm-up and a cosine schedule replaces Adam with an exponential one. The
teacher isn't tilted unless `semantics` is given: the published tilt changes odds by a factor of 1.35 at most;
`tilt=calibrated` gives it a noticeable effect. All as published: `--preset sake-published`.

Run    ssl-sbir finetune sake --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/sake
       ssl-sbir finetune sake --set semantics=wordnet --data …
Cost   5,000 images at 96 px: five epochs in three minutes on 2 cores.
"""

from collections.abc import Mapping

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder, ProjectedEncoder, load_encoder
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.errors import ConfigError
from ssl_sbir.fusion import VocabularySide, trained_text_side
from ssl_sbir.objectives.choices import Tilt, UnknownClasses
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    distillation_loss,
    labelled_cross_entropy,
    teacher_classifier,
    tilt_logits,
    with_embedding_head,
)
from ssl_sbir.objectives.distillation_settings import DistillationConfig
from ssl_sbir.objectives.semantic_losses import teacher_similarity
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.settings import OptimConfig, RecipeConfig


class SakeConfig(DistillationConfig, RecipeConfig):
    """Settings of SAKE."""

    teacher_views: bool = Field(
        False, description="let the teacher classify every augmented view; published: true"
    )
    embedding_dim: PositiveInt = Field(512, description="width of the embedding; published: 512 and 64")
    distillation: NonNegativeFloat = Field(
        1.0, description="weight of the teacher's classes of photos; published: 1"
    )
    class_distillation: NonNegativeFloat = Field(
        1.0, description="weight of the teacher's distribution over a sketch's class; published: absent (0)"
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
        description="published: logits + similarity_weight·A; calibrated: similarity_weight is the fraction of the gap closed",
    )
    unknown_classes: UnknownClasses = Field(
        "refuse", description="classes missing from semantics: refuse, or neutral (no tilt)"
    )
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=5e-4), description="")


class _SakeModel(nn.Module):
    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear, classes: int) -> None:
        super().__init__()
        self.encoder, self.teacher_head = encoder, teacher_head
        self.class_head = nn.Linear(encoder.width, classes)


@register_recipe("sake")
class Sake(Recipe[SakeConfig, _SakeModel]):
    """Learn seen classes and keep ImageNet knowledge."""

    Config = SakeConfig
    stage = "finetuning"
    summary = "learn seen classes, keep ImageNet knowledge"
    paper = "Liu 2019"
    similarity: Tensor | None = None

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _SakeModel:
        config = self.config
        size = encoder.preprocess.size if config.teacher_views else config.teacher_size
        self.teacher = load_encoder(config.teacher, size=size).requires_grad_(False)
        self.teacher_classifier = teacher_classifier(self.teacher, config.teacher).requires_grad_(False)
        if config.semantics is not None:
            self.similarity = self._teacher_similarity(config.semantics, classes)
        embedding_head, teacher_head = svd_factorize(self.teacher_classifier, config.embedding_dim)
        return _SakeModel(with_embedding_head(encoder, embedding_head), teacher_head, len(classes))

    def text_side(self, model: _SakeModel) -> VocabularySide | None:
        """The teacher's words, in the directions of the teacher head; None if that head isn't trained."""
        return trained_text_side(self.teacher, model.teacher_head, self.config.distillation)

    def _teacher_similarity(self, semantics: str, classes: tuple[str, ...]) -> Tensor:
        config = self.config
        if config.tilt == "calibrated" and config.similarity_weight >= 1:
            raise ConfigError(
                f"similarity_weight = {config.similarity_weight}: with tilt=calibrated it's a fraction",
                "Give 0 to below 1, such as .3.",
            )
        teacher_classes = self.teacher_classifier.out_features
        return teacher_similarity(semantics, classes, teacher_classes, config.unknown_classes)

    def prepare(self, model: _SakeModel, data: TrainingSet) -> None:
        """Computes the teacher's logits of every photo of the run, once."""
        config, device = self.config, model.teacher_head.weight.device
        logits = TeacherLogits.from_teacher(self.teacher.to(device), data)
        logits.logits *= config.teacher_logit_scale
        if self.similarity is not None:
            logits = logits.tilt_by_similarity(data, self.similarity, config.similarity_weight, config.tilt)
        self.teacher_logits, self.class_targets = logits, logits.class_mean_targets(data)
        self.teacher_classifier.to(device)

    def loss(self, model: _SakeModel, batch: Batch) -> Mapping[str, Tensor]:
        image = self.augment.view_batch(batch)
        embeddings = model.encoder(image, batch.domain)
        photo, labelled = batch.domain == Domain.PHOTO, batch.label >= 0
        student_logits, sketch = model.teacher_head(embeddings), ~photo & labelled
        class_targets = self.class_targets[batch.label[sketch].cpu()].to(embeddings.device)
        return {
            "seen_classes": labelled_cross_entropy(model.class_head(embeddings), batch.label),
            "distillation": self.config.distillation
            * distillation_loss(student_logits[photo], self._teacher_targets(image[photo], batch, photo)),
            "class_distillation": self.config.class_distillation
            * distillation_loss(student_logits[sketch], class_targets),
        }

    @torch.no_grad()
    def _teacher_targets(self, view: Tensor, batch: Batch, photo: Tensor) -> Tensor:
        """The teacher's distribution for each photo of a batch."""
        if not self.config.teacher_views or not len(view):
            return self.teacher_logits(batch.row[photo]).softmax(-1)
        features = self.teacher(view, batch.domain[photo])
        logits = self.config.teacher_logit_scale * self.teacher_classifier(features)
        if self.similarity is not None:
            label = batch.label[photo].cpu()
            similarity = self.similarity[label.clamp(min=0)] * (label >= 0)[:, None]
            logits = tilt_logits(
                logits, similarity.to(logits), self.config.similarity_weight, self.config.tilt
            )
        return logits.softmax(-1)
