"""UCDIR: clusters of photos and clusters of sketches are brought together, with no pair and no label.

C. Hu, G. H. Lee: Feature Representation Learning for Unsupervised Cross-domain Image Retrieval, ECCV 2022.

Terms, each averaged over the domains
    instances   a view of an image finds another view of it, made by a slow copy of the encoder, among the last
                keys of its whole domain.
    clusters    it finds the keys of all images of its cluster (k-means in its domain before every epoch), if its
                own key is sure of that cluster.
    entropy     every image is near one of each domain's clusters rather than between several.
    distances   either domain's clusters see the same distances between the images of a batch.
    preserve    not in the paper: the frozen teacher's answer about a photo, recalled from its code.

The paper's courses are in epochs of 200 and are taken as shares of the run: clusters from .1 on, in full at .5;
entropy and distances from .5 on. Departures: the contrast is on the exported code (512 wide, each domain about its
own mean), not on a projection of 128; clusters are found among the keys of the last epoch, not in a pass over all
images; there are 100 of them a domain, where the released scripts give the true number of classes; keys are made
with averaged norm statistics (EMAN) in place of split batches; the momentum is .99, not .999, whose copy would
hardly move in a short run. Published: momentum=.999 preserve=0 temperature=.2 sharpness=.1. One process only.

Needs no photo's pseudo-sketch. With one domain alone the first two terms and its own entropy remain.

Run    ssl-sbir pretrain ucdir --data folder:archive/ --out runs/archive
Cost   each image passes twice, once without gradients, and k-means before every epoch.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.kornia_views import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder, ProjectedEncoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.group_means import group_means
from ssl_sbir.objectives.cross_domain import (
    cluster_contrast,
    distance_of_distances,
    instance_contrast,
    is_confident_cluster,
    self_entropy,
)
from ssl_sbir.objectives.self_labeling import kmeans_clusters
from ssl_sbir.objectives.teacher_distillation import (
    DistillationConfig,
    DistillationModel,
    TeacherDistillation,
    check_single_process,
    update_ema,
)
from ssl_sbir.objectives.weight_ramp import linear_ramp
from ssl_sbir.training.recipe import BatchConfig, OptimConfig, Recipe, register_recipe
from ssl_sbir.training.two_views import check_batch_not_single


class UcdirConfig(DistillationConfig):
    """Settings of UCDIR."""

    num_clusters: PositiveInt = Field(
        100, description="clusters of each domain; at most one for every four images"
    )
    momentum: float = Field(0.99, ge=0, lt=1, description="of the slow copy; published: .999")
    temperature: PositiveFloat = Field(0.2, description="of the contrasts; published: .2")
    entropy_temperature: PositiveFloat = Field(0.1, description="temperature of the entropy; published: .1")
    confidence_threshold: float = Field(
        0.2, ge=0, lt=1, description="probability above which a cluster is believed; published: .2"
    )
    instance_weight: NonNegativeFloat = Field(1.0, description="weight of images; published: 1")
    cluster_weight: NonNegativeFloat = Field(1.0, description="weight of clusters; published: 1")
    entropy_weight: NonNegativeFloat = Field(0.5, description="weight of the entropy; published: .5")
    distance_weight: NonNegativeFloat = Field(0.1, description="weight of the distances; published: .1")
    cluster_start: float = Field(0.1, ge=0, le=1, description="share of the run before clusters count")
    all_terms_start: float = Field(
        0.5, ge=0, le=1, description="share from which on every term counts in full"
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
    """`memory_bank` has the last key of each image of the run, `cluster` its cluster, `class_prototypes` those of each domain."""

    memory_bank: Tensor
    cluster: Tensor
    prototypes: Tensor

    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear) -> None:
        super().__init__(encoder, teacher_head)
        self.momentum_encoder = copy.deepcopy(self.encoder).requires_grad_(False)


@register_recipe("ucdir")
class Ucdir(Recipe[UcdirConfig]):
    """Clusters of photos and clusters of sketches are brought together."""

    Config = UcdirConfig
    stage = "pretraining"
    summary = "clusters of photos and of sketches are brought together, unpaired"
    paper = "Hu 2022"
    distributed = "refused, since its keys live in one process"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.preservation = TeacherDistillation(self.config)
        return _UcdirModel(*self.preservation.encoder_and_head(encoder))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Makes room for a key of every image, and asks the teacher about the photos."""
        check_single_process("ucdir")
        check_batch_not_single(self.name, data, self.config.batch)
        device = str(model.recall.weight.device)
        self.preservation.query_teacher(data, device)
        self.domain_slices, first = {}, 0
        self.image_index = torch.full((len(data.manifest),), -1, dtype=torch.int64)
        for domain in (d for d in Domain if len(data.rows[d])):
            rows = torch.from_numpy(data.rows[domain])
            self.domain_slices[domain] = slice(first, first + len(rows))
            self.image_index[rows] = first + torch.arange(len(rows))
            first += len(rows)
        most = max(self._cluster_count(domain) for domain in self.domain_slices)
        model.register_buffer("memory", torch.zeros(first, self.config.embedding_dim, device=device))
        model.register_buffer("group", torch.zeros(first, dtype=torch.int64, device=device))
        model.register_buffer("prototypes", torch.zeros(2, most, self.config.embedding_dim, device=device))

    def _cluster_count(self, domain: Domain) -> int:
        part = self.domain_slices[domain]
        return max(min(self.config.num_clusters, (part.stop - part.start) // 4), 1)

    def before_epoch(self, model: Any, data: TrainingSet, epoch: int) -> None:
        """Fills the memory before the first epoch, and finds each domain's clusters among the keys."""
        for domain, part in self.domain_slices.items():
            if not epoch:
                device = str(model.memory.device)
                code = embed_rows(model.coded, data.pack, data.manifest, data.rows[domain], device=device)
                model.encoder.watch(code.to(device), torch.full((len(code),), int(domain), device=device))
                model.memory[part] = F.normalize(code - code.mean(0), dim=1).to(device)
            groups, keys = self._cluster_count(domain), model.memory[part].cpu()
            group = kmeans_clusters(keys, groups, self.config.seed)
            model.group[part] = group.to(model.group.device)
            centres = F.normalize(group_means(keys, group, groups), dim=1)
            model.prototypes[domain, :groups] = centres.to(model.prototypes.device)
        if not epoch:
            update_ema(model.slow, model.encoder, 0.0)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        code = model.coded(self.augment(batch.image, batch.domain), batch.domain)
        model.encoder.watch(code, batch.domain)
        query = F.normalize((code - model.encoder.domain_means[batch.domain]).float(), dim=1)
        with torch.no_grad():
            second = self.augment(batch.image, batch.domain)
            key = F.normalize(model.slow.eval()(second, batch.domain).float(), dim=1)
        place = self.image_index[batch.row.cpu()].to(batch.row.device)
        parts = [
            self._domain_terms(
                model, domain, query[of], key[of], place[of] - self.domain_slices[domain].start
            )
            for domain in self.domain_slices
            if (of := batch.domain == domain).any()
        ]
        terms = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        photo = batch.domain == Domain.PHOTO
        return terms | self.preservation.loss_terms(model.recall(code[photo]), batch.row[photo])

    def _domain_terms(
        self, model: Any, domain: Domain, query: Tensor, key: Tensor, place: Tensor
    ) -> dict[str, Tensor]:
        config, memory = self.config, model.memory[self.domain_slices[domain]]
        memory[place] = key
        groups = model.group[self.domain_slices[domain]]
        centres = {d: model.prototypes[d, : self._cluster_count(d)] for d in self.domain_slices}
        rising, late = (
            linear_ramp(self.progress, config.cluster_start, config.all_terms_start),
            float(self.progress >= config.all_terms_start),
        )
        # A copy: the memory changes in place before the gradients are computed.
        kept, temperature = memory.clone(), config.temperature
        sure = is_confident_cluster(
            key, centres[domain], groups[place], temperature, config.confidence_threshold
        )
        grouped = cluster_contrast(query, kept, groups[place], groups, sure, temperature)
        entropy = torch.stack(
            [self_entropy(query, c, config.entropy_temperature) for c in centres.values()]
        ).mean()
        terms = {
            "instances": config.instance_weight * instance_contrast(query, kept, place, temperature),
            "clusters": config.cluster_weight * rising * grouped,
            "entropy": config.entropy_weight * late * entropy,
        }
        if len(centres) == 2:
            terms["distances"] = (
                config.distance_weight * late * distance_of_distances(query, *centres.values())
            )
        return terms

    def after_step(self, model: Any, progress: float) -> None:  # noqa: ARG002
        update_ema(model.slow, model.encoder, self.config.momentum)
