"""UCDIR: clusters of photos and clusters of sketches are aligned, without pairs or labels.

C. Hu, G. H. Lee: Feature Representation Learning for Unsupervised Cross-domain Image Retrieval, ECCV 2022.

Terms, each averaged over the domains
    instances      a view of an image is matched with another view of it, encoded by a momentum encoder, among the
                   latest keys of its whole domain.
    clusters       it is matched with the keys of all images of its cluster (k-means in its domain before every
                   epoch), if its own key is assigned to that cluster with confidence.
    entropy        every image is near one of each domain's clusters rather than between several.
    distances      both domains' clusters yield the same distances between the images of a batch.
    distillation   not in the paper: the frozen teacher's classes of a photo, predicted from its embedding.

The paper's schedules are in epochs of 200 and are used as fractions of the run: clusters from .1 on, in full at .5;
entropy and distances from .5 on.

Departures: the contrast uses the exported embedding (512 wide, less each domain's mean), not a projection of 128;
clusters are computed from the keys of the last epoch, not in a pass over all images; there are 100 of them per domain,
where the released scripts use the true number of classes; keys use averaged norm statistics (EMAN) instead of split
batches; the momentum is .99, not .999, at which the copy would hardly move in a short run. Published: momentum=.999
distillation=0 temperature=.2 entropy_temperature=.1. One process only.

Needs no pseudo-sketches. With one domain only, the first two terms and that domain's entropy remain.

Run    ssl-sbir pretrain ucdir --data folder:archive/ --out runs/archive
Cost   each image passes the encoder twice, once without gradients; k-means before every epoch.
"""

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder, ProjectedEncoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.fusion import VocabularySide, trained_text_side
from ssl_sbir.group_means import group_means
from ssl_sbir.objectives.cross_domain import (
    cluster_contrast,
    distance_of_distances,
    instance_contrast,
    is_confident_cluster,
    self_entropy,
)
from ssl_sbir.objectives.distillation_settings import DistillationConfig
from ssl_sbir.objectives.self_labeling import kmeans_clusters
from ssl_sbir.objectives.teacher_distillation import DistillationModel, TeacherDistillation, update_ema
from ssl_sbir.objectives.weight_ramp import linear_ramp
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.recipe_checks import check_batch_not_single, check_single_process
from ssl_sbir.training.settings import BatchConfig, OptimConfig, RecipeConfig


class UcdirConfig(DistillationConfig, RecipeConfig):
    """Settings of UCDIR."""

    num_clusters: PositiveInt = Field(100, description="clusters of each domain; at most one per four images")
    momentum: float = Field(0.99, ge=0, lt=1, description="momentum of the momentum encoder; published: .999")
    temperature: PositiveFloat = Field(0.2, description="temperature of the contrasts; published: .2")
    entropy_temperature: PositiveFloat = Field(0.1, description="temperature of the entropy; published: .1")
    confidence_threshold: float = Field(
        0.2, ge=0, lt=1, description="probability above which a cluster assignment counts; published: .2"
    )
    instance_weight: NonNegativeFloat = Field(1.0, description="weight of instances; published: 1")
    cluster_weight: NonNegativeFloat = Field(1.0, description="weight of clusters; published: 1")
    entropy_weight: NonNegativeFloat = Field(0.5, description="weight of the entropy; published: .5")
    distance_weight: NonNegativeFloat = Field(0.1, description="weight of the distances; published: .1")
    cluster_start: float = Field(0.1, ge=0, le=1, description="fraction of the run before clusters count")
    all_terms_start: float = Field(
        0.5, ge=0, le=1, description="fraction of the run after which every term counts in full"
    )
    augment: AugmentConfig = Field(
        AugmentConfig(
            min_crop_area=0.3,
            color_jitter=0.5,
            grayscale=0.2,
            blur=0.3,
            elastic=0.015,
            stroke_width=0.5,
            stroke_gaps=0.5,
        ),
        description="",
    )
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=32), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=6), description="")


class _UcdirModel(DistillationModel):
    """A distillation model with a momentum encoder and a memory of the run's images.

    Attributes:
        memory_bank: latest key of each image, [images, width].
        cluster: cluster of each image within its domain.
        prototypes: centers of each domain's clusters, [domains, clusters, width].
    """

    memory_bank: Tensor
    cluster: Tensor
    prototypes: Tensor

    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear) -> None:
        super().__init__(encoder, teacher_head)
        self.momentum_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    def register_memory(self, images: int, clusters: int) -> None:
        """Adds the memory, filled with zeros."""
        width, device = self.encoder.width, self.teacher_head.weight.device
        self.register_buffer("memory_bank", torch.zeros(images, width, device=device))
        self.register_buffer("cluster", torch.zeros(images, dtype=torch.int64, device=device))
        self.register_buffer("prototypes", torch.zeros(len(Domain), clusters, width, device=device))


@register_recipe("ucdir")
class Ucdir(Recipe[UcdirConfig, _UcdirModel]):
    """Clusters of photos and clusters of sketches are aligned."""

    Config = UcdirConfig
    stage = "pretraining"
    summary = "clusters of photos and of sketches are aligned, without pairs"
    paper = "Hu 2022"
    distributed = "refused, since its keys live in one process"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _UcdirModel:
        assert not classes, "pretraining sees no labels"
        self.distillation = TeacherDistillation(self.config)
        return _UcdirModel(*self.distillation.encoder_and_head(encoder))

    def text_side(self, model: _UcdirModel) -> VocabularySide | None:
        """The teacher's words, in the directions of the teacher head; None if that head isn't trained."""
        return trained_text_side(self.distillation.teacher, model.teacher_head, self.config.distillation)

    def prepare(self, model: _UcdirModel, data: TrainingSet) -> None:
        """Reserves memory for a key of every image, and computes the teacher's logits of the photos."""
        check_single_process("ucdir")
        check_batch_not_single(self.name, data, self.config.batch)
        self.distillation.query_teacher(data, str(model.teacher_head.weight.device))
        self.domain_slices, first = dict[Domain, slice](), 0
        for domain in (each for each in Domain if len(data.rows[each])):
            self.domain_slices[domain] = slice(first, first + len(data.rows[domain]))
            first += len(data.rows[domain])
        self.image_index = data.index_by_row(*self.domain_slices)
        model.register_memory(first, max(self._cluster_count(domain) for domain in self.domain_slices))

    def _cluster_count(self, domain: Domain) -> int:
        images = self.domain_slices[domain]
        return max(min(self.config.num_clusters, (images.stop - images.start) // 4), 1)

    def before_epoch(self, model: _UcdirModel, data: TrainingSet, epoch: int) -> None:
        """Fills the memory before the first epoch, and computes each domain's clusters from its keys."""
        for domain, images in self.domain_slices.items():
            if not epoch:
                self._fill_memory(model, data, domain)
            count, keys = self._cluster_count(domain), model.memory_bank[images].cpu()
            cluster = kmeans_clusters(keys, count, self.config.seed)
            model.cluster[images] = cluster.to(model.cluster.device)
            centers = F.normalize(group_means(keys, cluster, count), dim=1)
            model.prototypes[domain, :count] = centers.to(model.prototypes.device)
        if not epoch:
            update_ema(model.momentum_encoder, model.encoder, 0.0)

    def _fill_memory(self, model: _UcdirModel, data: TrainingSet, domain: Domain) -> None:
        device = model.memory_bank.device
        encoder, rows = model.uncentered_encoder, data.rows[domain]
        embeddings = embed_rows(encoder, data.pack, data.manifest, rows, device=str(device))
        domains = torch.full((len(embeddings),), int(domain), device=device)
        model.encoder.update_domain_means(embeddings.to(device), domains)
        keys = F.normalize(embeddings - embeddings.mean(0), dim=1)
        model.memory_bank[self.domain_slices[domain]] = keys.to(device)

    def loss(self, model: _UcdirModel, batch: Batch) -> Mapping[str, Tensor]:
        embeddings = model.uncentered_encoder(self.augment.view_batch(batch), batch.domain)
        model.encoder.update_domain_means(embeddings, batch.domain)
        query = F.normalize((embeddings - model.encoder.domain_means[batch.domain]).float(), dim=1)
        with torch.no_grad():
            second_view = self.augment.view_batch(batch)
            key = F.normalize(model.momentum_encoder.eval()(second_view, batch.domain).float(), dim=1)
        index = self.image_index[batch.row.cpu()].to(batch.row.device)
        by_domain = [
            self._domain_terms(model, domain, query[rows], key[rows], index[rows] - images.start)
            for domain, images in self.domain_slices.items()
            if (rows := batch.domain == domain).any()
        ]
        terms = {name: torch.stack([each[name] for each in by_domain]).mean() for name in by_domain[0]}
        photo = batch.domain == Domain.PHOTO
        return terms | self.distillation.loss_terms(model.teacher_head(embeddings[photo]), batch.row[photo])

    def _domain_terms(
        self, model: _UcdirModel, domain: Domain, query: Tensor, key: Tensor, index: Tensor
    ) -> dict[str, Tensor]:
        config, images = self.config, self.domain_slices[domain]
        model.memory_bank[images][index] = key
        # A copy: the memory changes in place before the gradients are computed.
        memory_bank, key_clusters = model.memory_bank[images].clone(), model.cluster[images]
        centers = {d: model.prototypes[d, : self._cluster_count(d)] for d in self.domain_slices}
        cluster, temperature = key_clusters[index], config.temperature
        confident = is_confident_cluster(
            key, centers[domain], cluster, temperature, config.confidence_threshold
        )
        clusters = cluster_contrast(query, memory_bank, cluster, key_clusters, confident, temperature)
        entropies = [self_entropy(query, c, config.entropy_temperature) for c in centers.values()]
        instances = instance_contrast(query, memory_bank, index, temperature)
        ramp = linear_ramp(self.progress, config.cluster_start, config.all_terms_start)
        late = float(self.progress >= config.all_terms_start)
        terms = {
            "instances": config.instance_weight * instances,
            "clusters": config.cluster_weight * ramp * clusters,
            "entropy": config.entropy_weight * late * torch.stack(entropies).mean(),
        }
        if len(centers) == len(Domain):
            distances = distance_of_distances(query, centers[Domain.SKETCH], centers[Domain.PHOTO])
            terms["distances"] = config.distance_weight * late * distances
        return terms

    def after_step(self, model: _UcdirModel, progress: float) -> None:  # noqa: ARG002
        update_ema(model.momentum_encoder, model.encoder, self.config.momentum)
