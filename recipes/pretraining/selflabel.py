"""Balanced cross-domain self-labelling: photos name the classes, drawings are shared out among them.

Ours. The balance by Sinkhorn and Knopp is that of Y. M. Asano, C. Rupprecht, A. Vedaldi: Self-labelling via
Simultaneous Clustering and Representation Learning, ICLR 2020; the preservation is SAKE's (Liu, ICCV 2019)
without its labels.

Before training, k-means on a frozen network's photo features gives every photo a class without a name. Before each
epoch every sketch is given to the class that it lies nearest, all classes being used about evenly; nearness is to
the class's photos and to drawings of them in the frozen network, later more and more also to its photos in the
encoder itself, and sketches that look alike pull each other along. The surest share counts.

Terms
    photo_classes    cross-entropy of a photo and of its pseudo-sketch (its own edges, drawn) with its class.
    sketch_classes   the same for the real sketches that count.
    contrast         InfoNCE, both ways, between a photo and its pseudo-sketch.
    preserve         the frozen teacher's distribution over ImageNet's classes for a photo, recalled from the
                     photo and from its pseudo-sketch.
    kinship          the teacher's mean distribution over the photos of a sketch's class, recalled from the sketch.

What was supervised upstream: the ImageNet labels behind the encoder and teacher, and with HED's edges the
boundaries of BSDS500. No label of the data is read. Every domain's mean is taken off the exported features.

Run    ssl-sbir pretrain selflabel --data folder:archive/ --out runs/archive
Cost   each photo passes the encoder twice, each sketch once, and the teacher thrice before; 2,500 + 2,500 images at
       160 px on two cores of a processor without AVX-512: 5.5 minutes an epoch, and 4 before the first.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightly.utils.dist import gather, world_size
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.kornia_views import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.pseudo_sketches import EdgeDetector, PseudoSketcher
from ssl_sbir.edges.teacher_attention import features_and_cams
from ssl_sbir.encoders import (
    DomainCentredEncoder,
    DomainNormEncoder,
    Encoder,
    ProjectedEncoder,
    TwoTowerEncoder,
    load_encoder,
)
from ssl_sbir.errors import DataError
from ssl_sbir.group_means import group_means
from ssl_sbir.objectives.contrastive import symmetric_info_nce
from ssl_sbir.objectives.distillation import (
    TeacherLogits,
    svd_factorize,
    teacher_classifier,
    with_embedding_head,
)
from ssl_sbir.objectives.frozen_evidence import FrozenEvidence
from ssl_sbir.objectives.self_labeling import (
    assign_balanced,
    center_features,
    cosine_to_centers,
    kmeans_clusters,
    spread_labels,
)
from ssl_sbir.objectives.teacher_distillation import check_has_photos
from ssl_sbir.training.recipe import (
    BatchConfig,
    EncoderConfig,
    OptimConfig,
    Recipe,
    RecipeConfig,
    register_recipe,
)


class SelflabelConfig(RecipeConfig):
    """Settings of selflabel."""

    num_clusters: PositiveInt = Field(
        200, description="classes that the photos are divided into; at most one for every four photos"
    )
    edge_detector: EdgeDetector = Field(
        "mixed", description="what draws a photo's pseudo-sketch; hed needs its package"
    )
    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher is asked about, in pixels"
    )
    embedding_dim: PositiveInt = Field(512, description="width of the embedding")
    foreground_fraction: float = Field(
        0.6, ge=0, le=1, description="share of the pseudo-sketches that keep only what the teacher looks at"
    )
    reframed_fraction: float = Field(
        0.7, ge=0, le=1, description="share of the pseudo-sketches brought to the size of a sketch's ink"
    )
    domain_norms: bool = Field(True, description="batch norms keep sketches' statistics apart from photos'")
    assignment_temperature: PositiveFloat = Field(0.05, description="temperature of the sketches' assignment")
    frozen_weight: NonNegativeFloat = Field(
        1.0, description="what the frozen network counts in it, throughout"
    )
    self_weight: NonNegativeFloat = Field(
        1.5, description="what the encoder itself comes to count in it by the end of training"
    )
    label_spreading: float = Field(
        0.8, ge=0, lt=1, description="what sketches count in it that look like the one in question"
    )
    class_balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="1: all classes get equally many sketches, 0: as many as they have photos",
    )
    embedding_momentum: float = Field(
        0.0, ge=0, lt=1, description="how much of a sketch's earlier codes counts when it is given a class"
    )
    confident_fraction: float = Field(
        0.4, gt=0, le=1, description="share of the sketches that is trusted at first"
    )
    confident_fraction_end: float = Field(0.7, gt=0, le=1, description="share that is trusted in the end")
    temperature: PositiveFloat = Field(0.1, description="of the contrast's softmax")
    photo_classes: NonNegativeFloat = Field(1.0, description="weight of the photos' classes")
    sketch_classes: NonNegativeFloat = Field(1.0, description="weight of the sketches' classes")
    contrast: NonNegativeFloat = Field(0.5, description="weight of photo against its pseudo-sketch")
    distillation: NonNegativeFloat = Field(1.0, description="weight of what the teacher knows of photos")
    class_distillation: NonNegativeFloat = Field(
        1.0, description="weight of what the teacher knows of a sketch's class"
    )
    encoder: EncoderConfig = Field(EncoderConfig(size=160), description="")
    augment: AugmentConfig = Field(AugmentConfig(perspective=0.2), description="")
    batch: BatchConfig = Field(BatchConfig(photos=24, sketches=40), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=2.5, lr=5e-4), description="")


class _SelflabelModel(nn.Module):
    """Buffers, in the order of the run's rows: `row_label` (-1 not trusted, or none yet) and `last_embeddings`, the last codes."""

    label: Tensor
    last_embeddings: Tensor

    def __init__(self, encoder: Encoder, teacher_head: nn.Linear, classes: int) -> None:
        super().__init__()
        self.encoder = DomainCentredEncoder(encoder)
        self.teacher_head = teacher_head
        self.class_head = nn.Linear(encoder.width, classes)


@register_recipe("selflabel")
class Selflabel(Recipe[SelflabelConfig]):
    """Photos name the classes, drawings are shared out among them."""

    Config = SelflabelConfig
    stage = "pretraining"
    summary = "photos' clusters are the classes, drawings are shared out among them"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        asked, fit = self.config.teacher, encoder.preprocess.fit
        self.teacher = load_encoder(asked, size=self.config.teacher_size, fit=fit)
        code, recall = svd_factorize(teacher_classifier(self.teacher, asked), self.config.embedding_dim)
        if self.config.domain_norms and not isinstance(
            encoder, DomainCentredEncoder | ProjectedEncoder | TwoTowerEncoder
        ):
            encoder = DomainNormEncoder(encoder)  # a run that is gone on with keeps the norms it has
        return _SelflabelModel(with_embedding_head(encoder, code), recall, self.config.num_clusters)

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Clusters the photos, and asks the teacher about them."""
        check_has_photos(self.name, self.config.batch)
        photos = data.rows[Domain.PHOTO]
        if len(photos) < 8:
            raise DataError(
                f"{data.manifest.name} has {len(photos)} photos: too few to find classes among",
                "Give at least eight; without photos take another recipe, such as simclr.",
            )
        self.num_clusters = min(self.config.num_clusters, len(photos) // 4)
        device = str(model.recall.weight.device)
        head = teacher_classifier(self.teacher, self.config.teacher)
        seen, attention = features_and_cams(self.teacher, head, data, device=device)
        self.teacher_logits = TeacherLogits(head.cpu()(seen).detach(), attention.photo_index)
        self.photo_class = kmeans_clusters(seen, self.num_clusters, self.config.seed)
        answers = self.teacher_logits.logits.softmax(-1)
        self.class_targets = group_means(answers, self.photo_class, self.num_clusters).to(device)
        self.drawings = PseudoSketcher.for_training_set(
            self.config.edge_detector, data, device
        ).with_sketch_style(attention, self.config.foreground_fraction, self.config.reframed_fraction)
        self.frozen_evidence = self._compute_evidence(seen, data, device)
        self.image_index, images = (
            data.index_by_row(Domain.PHOTO, Domain.SKETCH),
            sum(map(len, data.rows.values())),
        )
        label = torch.full((images,), -1, dtype=torch.int64)
        label[: len(photos)] = self.photo_class
        model.register_buffer("label", label.to(device))
        model.register_buffer("seen", torch.zeros(images, self.config.embedding_dim, device=device))

    def _compute_evidence(self, seen: Tensor, data: TrainingSet, device: str) -> FrozenEvidence | None:
        if not len(data.rows[Domain.SKETCH]):
            return None
        return FrozenEvidence.from_teacher(
            self.teacher, seen, self.photo_class, self.num_clusters, data, self.drawings, device=device
        )

    def before_epoch(self, model: Any, data: TrainingSet, epoch: int) -> None:
        """Shares the sketches out among the photos' classes, by the codes they had when last seen."""
        config = self.config
        if self.frozen_evidence is None or not (epoch or config.frozen_weight):
            return
        photos, codes = len(data.rows[Domain.PHOTO]), model.seen.cpu()
        scores, features = (
            config.frozen_weight * self.frozen_evidence.scores,
            [self.frozen_evidence.sketch_features],
        )
        if epoch:
            met = codes.any(1)  # a rest below one batch hasn't had its turn yet
            examples, items = met[:photos], met[photos:, None]
            near = cosine_to_centers(
                codes[photos:], codes[:photos][examples], self.photo_class[examples], self.num_clusters
            )
            scores = scores + 2 * config.self_weight * self.progress * near * items
            features.append(center_features(codes[photos:]) * items)
        given = assign_balanced(
            spread_labels(scores, torch.cat(features, 1), share=config.label_spreading),
            self.photo_class.bincount(minlength=self.num_clusters),
            temperature=config.assignment_temperature,
            class_balance=config.class_balance,
            confident_fraction=config.confident_fraction
            + (config.confident_fraction_end - config.confident_fraction) * self.progress,
        )
        model.label[photos:] = given.label.masked_fill(~given.confident, -1).to(model.label.device)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        photo, place = batch.domain == Domain.PHOTO, self.image_index[batch.row.cpu()].to(batch.row.device)
        image = torch.cat([batch.image, self.drawings(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        code = model.encoder.encoder(self.augment(image, domain), domain)
        real, pseudo = code[: len(photo)], code[len(photo) :]
        # Where there are no sketches, the drawings' mean is taken for theirs.
        watched = len(image) if photo.all() else len(photo)
        model.encoder.watch(code[:watched], domain[:watched])
        self._store_embeddings(model, real, place)
        label = model.label[place]
        both = torch.cat([real[photo], pseudo])
        given = ~photo & (label >= 0)
        recalled, taught = model.recall(both), self.teacher_logits(batch.row[photo]).softmax(-1)
        terms = {
            "photo_classes": F.cross_entropy(model.classify(both), label[photo].repeat(2)),
            "sketch_classes": F.cross_entropy(model.classify(real[given]), label[given], reduction="sum"),
            "contrast": symmetric_info_nce(real[photo], pseudo, self.config.temperature),
            "preserve": F.cross_entropy(recalled, taught.repeat(2, 1)),
            "kinship": F.cross_entropy(
                model.recall(real[given]), self.class_targets[label[given]], reduction="sum"
            ),
        }
        for name in ("sketch_classes", "kinship"):  # a mean over all sketches: few trusted ones weigh little
            terms[name] = terms[name] / (~photo).sum().clamp(min=1)
        return {name: getattr(self.config, name) * term for name, term in terms.items()}

    @torch.no_grad()
    def _store_embeddings(self, model: Any, code: Tensor, place: Tensor) -> None:
        if world_size() > 1:  # every process shares out all sketches
            code, place = torch.cat(gather(code)), torch.cat(gather(place))
        old, new = model.seen[place], F.normalize(code.float(), dim=1)
        kept = self.config.embedding_momentum * old.any(1, keepdim=True)
        model.seen[place] = kept * old + (1 - kept) * new
