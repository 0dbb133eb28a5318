"""Crossmodal: a photo is matched with its own pseudo-sketch among all others, and the pseudo-sketch with its photo.

Ours; the loss is InfoNCE in both directions (van den Oord 2018, CLIP's form), the re-weighting of negatives that
of J. Robinson, C.-Y. Chuang, S. Sra, S. Jegelka: Contrastive Learning with Hard Negative Samples, ICLR 2021.

Terms
    contrast       a photo against its pseudo-sketch (edges by `edge_detector`, bent, thickened and interrupted like
                   hand-drawn lines), both ways; `hard_negative_beta` gives similar negatives more weight.
    pairs          with `batch.pairs`: the same between real sketches and the photos they were drawn after.
    distillation   cross-entropy with the frozen teacher's ImageNet classes of a photo, predicted from the photo and
                   from its pseudo-sketch: keeps the encoder's knowledge, which the contrast alone would erode.

Real sketches without a known pair only affect the normalisation and the domain's mean; without any sketches, the
pseudo-sketches' mean takes its place.

Run    ssl-sbir pretrain crossmodal --data folder:archive/ --out runs/archive
Cost   each photo passes the encoder twice, each sketch once.
"""

from collections.abc import Mapping

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.choices import EdgeDetector
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.encoders import Encoder
from ssl_sbir.fusion import VocabularySide, trained_text_side
from ssl_sbir.objectives.contrastive import symmetric_info_nce
from ssl_sbir.objectives.distillation_settings import DistillationConfig
from ssl_sbir.objectives.teacher_distillation import DistillationModel, TeacherDistillation
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.recipe_checks import check_has_photos
from ssl_sbir.training.settings import BatchConfig, OptimConfig, RecipeConfig


class CrossmodalConfig(DistillationConfig, RecipeConfig):
    """Settings of crossmodal."""

    edge_detector: EdgeDetector = Field(
        "mixed", description="edge detector of the pseudo-sketches; hed needs its package"
    )
    temperature: PositiveFloat = Field(0.1, description="temperature of the contrast's softmax")
    hard_negative_beta: NonNegativeFloat = Field(
        0.0, description="how much more weight a similar negative gets; 0 = equal weights"
    )
    contrast: NonNegativeFloat = Field(1.0, description="weight of the contrast")
    augment: AugmentConfig = Field(
        AugmentConfig(elastic=0.015, stroke_width=0.5, stroke_gaps=0.5), description=""
    )
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=16), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=6), description="")


@register_recipe("crossmodal")
class Crossmodal(Recipe[CrossmodalConfig, DistillationModel]):
    """A photo is matched with its own pseudo-sketch."""

    Config = CrossmodalConfig
    stage = "pretraining"
    summary = "a photo is matched with its own pseudo-sketch; ImageNet knowledge is kept"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> DistillationModel:
        assert not classes, "pretraining sees no labels"
        self.distillation = TeacherDistillation(self.config)
        return DistillationModel(*self.distillation.encoder_and_head(encoder))

    def text_side(self, model: DistillationModel) -> VocabularySide | None:
        """The teacher's words, in the directions of the teacher head; None if that head isn't trained."""
        return trained_text_side(self.distillation.teacher, model.teacher_head, self.config.distillation)

    def prepare(self, model: DistillationModel, data: TrainingSet) -> None:
        """Computes the teacher's logits of the photos, and their edges if a network detects them."""
        check_has_photos(self.name, self.config.batch)
        device = str(model.teacher_head.weight.device)
        self.pseudo_sketcher = PseudoSketcher.for_training_set(self.config.edge_detector, data, device)
        self.distillation.query_teacher(data, device)
        self.instance = torch.from_numpy(data.manifest.instance)

    def loss(self, model: DistillationModel, batch: Batch) -> Mapping[str, Tensor]:
        photo = batch.domain == Domain.PHOTO
        image = torch.cat([batch.image, self.pseudo_sketcher(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        embeddings = model.uncentered_encoder(self.augment(image, domain), domain)
        averaged = len(image) if photo.all() else len(photo)
        model.encoder.update_domain_means(embeddings[:averaged], domain[:averaged])
        photos, pseudo = embeddings[: len(photo)][photo], embeddings[len(photo) :]
        terms = {"contrast": self._weighted_contrast(photos, pseudo)}
        student_logits = model.teacher_head(torch.cat([photos, pseudo]))
        terms |= self.distillation.loss_terms(student_logits, batch.row[photo])
        if self.config.batch.pairs:
            sketch, own_photo = self._matched_pairs(batch)
            if len(sketch):
                terms["pairs"] = self._weighted_contrast(embeddings[sketch], embeddings[own_photo])
        return terms

    def _weighted_contrast(self, first: Tensor, second: Tensor) -> Tensor:
        config = self.config
        contrast = symmetric_info_nce(first, second, config.temperature, config.hard_negative_beta)
        return config.contrast * contrast

    def _matched_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Indices in the batch of sketches, and of the photos they were drawn after; one sketch of each photo."""
        instance, photo = self.instance[batch.row.cpu()].to(batch.row.device), batch.domain == Domain.PHOTO
        same = (instance[:, None] == instance[None, :]) & ~photo[:, None] & photo[None, :]
        same &= (instance >= 0)[:, None]
        own_photo = same.any(0).nonzero()[:, 0]
        return same[:, own_photo].int().argmax(0), own_photo
