"""Balanced cross-domain self-labelling: clusters of photos are the classes, and sketches are assigned to them.

Ours. The balancing by Sinkhorn and Knopp is that of Y. M. Asano, C. Rupprecht, A. Vedaldi: Self-labelling via
Simultaneous Clustering and Representation Learning, ICLR 2020; the distillation is SAKE's (Liu, ICCV 2019)
without its labels.

Before training, k-means on a frozen network's photo features gives every photo a class without a name. Before each
epoch every sketch is assigned to the most similar class, with all classes used about evenly. Similarity is to the
class's photos and to pseudo-sketches of them in the frozen network and, with growing weight, to its photos in the
trained encoder; similar sketches share their scores. Only the most confident fraction counts.

Terms
    photo_classes        cross-entropy of a photo and of its pseudo-sketch (its own edges, drawn) with its class.
    sketch_classes       the same for the real sketches that count.
    contrast             InfoNCE, both ways, between a photo and its pseudo-sketch.
    distillation         cross-entropy with the frozen teacher's ImageNet classes of a photo, predicted from the
                         photo and from its pseudo-sketch.
    class_distillation   the teacher's mean distribution over the photos of a sketch's class, predicted from the
                         sketch.

Supervision used upstream: the ImageNet labels behind the encoder and teacher, and with HED's edges the boundaries of
BSDS500. No label of the data is read. Each domain's mean is subtracted from the exported embeddings.

Run    ssl-sbir pretrain selflabel --data folder:archive/ --out runs/archive
Cost   each photo passes the encoder twice, each sketch once, and the teacher three times before training; 2,500 +
       2,500 images at 160 px on two cores of a processor without AVX-512: 5.5 minutes an epoch, and 4 before the
       first.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from lightly.utils.dist import gather, world_size
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.choices import EdgeDetector
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.edges.teacher_attention import features_and_cams
from ssl_sbir.encoders import (
    DomainCentredEncoder,
    DomainNormEncoder,
    Encoder,
    ProjectedEncoder,
    TwoTowerEncoder,
    load_encoder,
)
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.errors import DataError
from ssl_sbir.fusion import VocabularySide, trained_text_side
from ssl_sbir.group_means import group_means
from ssl_sbir.objectives.cluster_evidence import ClusterEvidence
from ssl_sbir.objectives.contrastive import symmetric_info_nce
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    teacher_classifier,
    with_embedding_head,
)
from ssl_sbir.objectives.distillation_settings import DistillationConfig
from ssl_sbir.objectives.self_labeling import assign_balanced, kmeans_clusters, spread_labels
from ssl_sbir.objectives.teacher_distillation import DistillationModel
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.recipe_checks import check_has_photos
from ssl_sbir.training.settings import BatchConfig, EncoderConfig, OptimConfig, RecipeConfig


class SelflabelConfig(DistillationConfig, RecipeConfig):
    """Settings of selflabel."""

    num_clusters: PositiveInt = Field(200, description="clusters of photos; at most one per four photos")
    edge_detector: EdgeDetector = Field(
        "mixed", description="edge detector of the pseudo-sketches; hed needs its package"
    )
    foreground_fraction: float = Field(
        0.6,
        ge=0,
        le=1,
        description="fraction of the pseudo-sketches that keep only the region the teacher attends to",
    )
    reframed_fraction: float = Field(
        0.7, ge=0, le=1, description="fraction of the pseudo-sketches scaled to the size of a sketch's ink"
    )
    domain_norms: bool = Field(
        True, description="batch norms keep separate statistics for sketches and photos"
    )
    assignment_temperature: PositiveFloat = Field(0.05, description="temperature of the sketches' assignment")
    frozen_weight: NonNegativeFloat = Field(
        1.0, description="weight of the frozen network in the assignment, constant"
    )
    self_weight: NonNegativeFloat = Field(
        1.5,
        description="weight of the trained encoder in the assignment at the end of training; it grows from 0",
    )
    label_spreading: float = Field(
        0.8, ge=0, lt=1, description="weight of similar sketches in a sketch's assignment"
    )
    class_balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="1: all classes get equally many sketches, 0: in proportion to their photos",
    )
    embedding_momentum: float = Field(
        0.0, ge=0, lt=1, description="momentum of the embeddings by which sketches are assigned"
    )
    confident_fraction: float = Field(
        0.4, gt=0, le=1, description="fraction of the sketches that counts at first"
    )
    confident_fraction_end: float = Field(0.7, gt=0, le=1, description="fraction that counts in the end")
    temperature: PositiveFloat = Field(0.1, description="temperature of the contrast's softmax")
    photo_classes: NonNegativeFloat = Field(1.0, description="weight of the photos' classes")
    sketch_classes: NonNegativeFloat = Field(1.0, description="weight of the sketches' classes")
    contrast: NonNegativeFloat = Field(
        0.5, description="weight of the contrast of photos and their pseudo-sketches"
    )
    class_distillation: NonNegativeFloat = Field(
        1.0, description="weight of the teacher's distribution over a sketch's class"
    )
    encoder: EncoderConfig = Field(EncoderConfig(size=160), description="")
    augment: AugmentConfig = Field(AugmentConfig(perspective=0.2), description="")
    batch: BatchConfig = Field(BatchConfig(photos=24, sketches=40), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=2.5, lr=5e-4), description="")


class _SelflabelModel(DistillationModel):
    """A distillation model with a classifier of the clusters and a memory of the run's images, photos first.

    Attributes:
        pseudo_label: cluster of each image; -1 for a sketch that isn't assigned with confidence.
        last_embeddings: latest embedding of each image, unit length; 0 before the first.
    """

    pseudo_label: Tensor
    last_embeddings: Tensor

    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear, clusters: int) -> None:
        super().__init__(encoder, teacher_head)
        self.class_head = nn.Linear(encoder.width, clusters)

    def register_memory(self, photo_class: Tensor, sketches: int) -> None:
        """Adds the memory; no sketch is assigned yet."""
        device, images = self.teacher_head.weight.device, len(photo_class) + sketches
        label = torch.cat([photo_class, torch.full((sketches,), -1)])
        self.register_buffer("pseudo_label", label.to(device))
        self.register_buffer("last_embeddings", torch.zeros(images, self.encoder.width, device=device))

    @torch.no_grad()
    def store_embeddings(self, embeddings: Tensor, index: Tensor, momentum: float) -> None:
        """Averages new embeddings into the memory, those of all processes."""
        if world_size() > 1:  # every process assigns all sketches
            embeddings, index = torch.cat(gather(embeddings)), torch.cat(gather(index))
        old, new = self.last_embeddings[index], F.normalize(embeddings.float(), dim=1)
        momentums = momentum * old.any(1, keepdim=True)
        self.last_embeddings[index] = momentums * old + (1 - momentums) * new


@register_recipe("selflabel")
class Selflabel(Recipe[SelflabelConfig, _SelflabelModel]):
    """Clusters of photos are the classes; sketches are assigned to them."""

    Config = SelflabelConfig
    stage = "pretraining"
    summary = "clusters of photos are the classes; sketches are assigned to them"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _SelflabelModel:
        assert not classes, "pretraining sees no labels"
        config = self.config
        self.teacher = load_encoder(config.teacher, size=config.teacher_size, fit=encoder.preprocess.fit)
        classifier = teacher_classifier(self.teacher, config.teacher)
        embedding_head, teacher_head = svd_factorize(classifier, config.embedding_dim)
        if config.domain_norms and not isinstance(
            encoder, DomainCentredEncoder | ProjectedEncoder | TwoTowerEncoder
        ):
            encoder = DomainNormEncoder(encoder)  # the encoder of an earlier run keeps its norms
        return _SelflabelModel(
            with_embedding_head(encoder, embedding_head), teacher_head, config.num_clusters
        )

    def text_side(self, model: _SelflabelModel) -> VocabularySide | None:
        """The teacher's words, in the directions of the teacher head; None if that head isn't trained."""
        return trained_text_side(self.teacher, model.teacher_head, self.config.distillation)

    def prepare(self, model: _SelflabelModel, data: TrainingSet) -> None:
        """Clusters the photos, and computes the teacher's logits and evidence."""
        check_has_photos(self.name, self.config.batch)
        photos, sketches = len(data.rows[Domain.PHOTO]), len(data.rows[Domain.SKETCH])
        if photos < 8:
            raise DataError(
                f"{data.manifest.name} has {photos} photos: too few to find classes among",
                "Give at least eight; without photos take another recipe, such as simclr.",
            )
        self.num_clusters = min(self.config.num_clusters, photos // 4)
        device = str(model.teacher_head.weight.device)
        classifier = teacher_classifier(self.teacher, self.config.teacher)
        features, activation_maps = features_and_cams(self.teacher, classifier, data, device=device)
        self.teacher_logits = TeacherLogits(classifier.cpu()(features).detach(), activation_maps.photo_index)
        self.photo_class = kmeans_clusters(features, self.num_clusters, self.config.seed)
        probabilities = self.teacher_logits.logits.softmax(-1)
        self.class_targets = group_means(probabilities, self.photo_class, self.num_clusters).to(device)
        sketcher = PseudoSketcher.for_training_set(self.config.edge_detector, data, device)
        self.pseudo_sketcher = sketcher.with_sketch_style(
            activation_maps, self.config.foreground_fraction, self.config.reframed_fraction
        )
        self.frozen_evidence = self._frozen_evidence(features, data, device) if sketches else None
        self.image_index = data.index_by_row(Domain.PHOTO, Domain.SKETCH)
        model.register_memory(self.photo_class, sketches)

    def _frozen_evidence(self, photos: Tensor, data: TrainingSet, device: str) -> ClusterEvidence:
        return ClusterEvidence.from_teacher(
            self.teacher,
            photos,
            self.photo_class,
            self.num_clusters,
            data,
            self.pseudo_sketcher,
            device=device,
        )

    def before_epoch(self, model: _SelflabelModel, data: TrainingSet, epoch: int) -> None:
        """Assigns the sketches to the photos' clusters."""
        config, photos = self.config, len(data.rows[Domain.PHOTO])
        if self.frozen_evidence is None or not (epoch or config.frozen_weight):
            return
        evidence = self._assignment_evidence(self.frozen_evidence, model.last_embeddings.cpu(), epoch)
        assignment = assign_balanced(
            spread_labels(evidence.scores, evidence.sketch_features, share=config.label_spreading),
            self.photo_class.bincount(minlength=self.num_clusters),
            temperature=config.assignment_temperature,
            class_balance=config.class_balance,
            confident_fraction=config.confident_fraction
            + (config.confident_fraction_end - config.confident_fraction) * self.progress,
        )
        label = assignment.label.masked_fill(~assignment.confident, -1)
        model.pseudo_label[photos:] = label.to(model.pseudo_label.device)

    def _assignment_evidence(
        self, frozen: ClusterEvidence, embeddings: Tensor, epoch: int
    ) -> ClusterEvidence:
        """The frozen network's evidence and, after the first epoch, the trained encoder's with growing weight."""
        scores = self.config.frozen_weight * frozen.scores
        if not epoch:
            return ClusterEvidence(scores, frozen.sketch_features)
        photos = len(self.photo_class)
        own = ClusterEvidence.from_embeddings(
            embeddings[:photos], embeddings[photos:], self.photo_class, self.num_clusters
        )
        return ClusterEvidence(
            scores + self.config.self_weight * self.progress * own.scores,
            torch.cat([frozen.sketch_features, own.sketch_features], 1),
        )

    def loss(self, model: _SelflabelModel, batch: Batch) -> Mapping[str, Tensor]:
        photo, index = batch.domain == Domain.PHOTO, self.image_index[batch.row.cpu()].to(batch.row.device)
        real, pseudo = self._embed_images(model, batch)
        model.store_embeddings(real, index, self.config.embedding_momentum)
        label = model.pseudo_label[index]
        both, assigned = torch.cat([real[photo], pseudo]), ~photo & (label >= 0)
        student_logits = model.teacher_head(both)
        targets = self.teacher_logits(batch.row[photo]).softmax(-1).repeat(2, 1)
        class_targets = self.class_targets[label[assigned]]
        terms = {
            "photo_classes": F.cross_entropy(model.class_head(both), label[photo].repeat(2)),
            "sketch_classes": F.cross_entropy(
                model.class_head(real[assigned]), label[assigned], reduction="sum"
            ),
            "contrast": symmetric_info_nce(real[photo], pseudo, self.config.temperature),
            "distillation": F.cross_entropy(student_logits, targets),
            "class_distillation": F.cross_entropy(
                model.teacher_head(real[assigned]), class_targets, reduction="sum"
            ),
        }
        for name in ("sketch_classes", "class_distillation"):
            # A mean over all sketches, so that few assigned ones have little weight.
            terms[name] = terms[name] / (~photo).sum().clamp(min=1)
        return {name: getattr(self.config, name) * term for name, term in terms.items()}

    def _embed_images(self, model: _SelflabelModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of a view of each image of a batch, and of each photo's pseudo-sketch."""
        photo = batch.domain == Domain.PHOTO
        image = torch.cat([batch.image, self.pseudo_sketcher(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        embeddings = model.uncentered_encoder(self.augment(image, domain), domain)
        # Where there are no sketches, the pseudo-sketches' mean takes their mean's place.
        averaged = len(image) if photo.all() else len(photo)
        model.encoder.update_domain_means(embeddings[:averaged], domain[:averaged])
        return embeddings[: len(photo)], embeddings[len(photo) :]
