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

from ssl_sbir.augment import AugmentConfig
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import Encoder, Projected
from ssl_sbir.grouped import means_by
from ssl_sbir.objectives.crossdomain import (
    cluster_contrast,
    distance_of_distances,
    instance_contrast,
    self_entropy,
    sure_of,
)
from ssl_sbir.objectives.ramp import ramp
from ssl_sbir.objectives.recalling import (
    Preservation,
    RecallConfig,
    Recalling,
    follow,
    refuse_several_processes,
)
from ssl_sbir.objectives.selflabelling import clusters
from ssl_sbir.recipe import BatchConfig, OptimConfig, Recipe, register
from ssl_sbir.retrieval.embeddings import embed
from ssl_sbir.views import refuse_single


class UcdirConfig(RecallConfig):
    """Settings of UCDIR."""

    groups: PositiveInt = Field(100, description="clusters of each domain; at most one for every four images")
    momentum: float = Field(0.99, ge=0, lt=1, description="of the slow copy; published: .999")
    temperature: PositiveFloat = Field(0.2, description="of the contrasts; published: .2")
    sharpness: PositiveFloat = Field(0.1, description="temperature of the entropy; published: .1")
    sureness: float = Field(
        0.2, ge=0, lt=1, description="probability above which a cluster is believed; published: .2"
    )
    instances: NonNegativeFloat = Field(1.0, description="weight of images; published: 1")
    clusters: NonNegativeFloat = Field(1.0, description="weight of clusters; published: 1")
    entropy: NonNegativeFloat = Field(0.5, description="weight of the entropy; published: .5")
    distances: NonNegativeFloat = Field(0.1, description="weight of the distances; published: .1")
    begin: float = Field(0.1, ge=0, le=1, description="share of the run before clusters count")
    whole: float = Field(0.5, ge=0, le=1, description="share from which on every term counts in full")
    augment: AugmentConfig = Field(
        AugmentConfig(crop=0.3, colour=0.5, grey=0.2, blur=0.3, wobble=0.015, ink=0.5, gaps=0.5),
        description="",
    )
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=32), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=6), description="")


class _TwoDomains(Recalling):
    """`memory` has the last key of each image of the run, `group` its cluster, `prototypes` those of each domain."""

    memory: Tensor
    group: Tensor
    prototypes: Tensor

    def __init__(self, encoder: Projected, recall: nn.Linear) -> None:
        super().__init__(encoder, recall)
        self.slow = copy.deepcopy(self.encoder).requires_grad_(False)


@register("ucdir")
class Ucdir(Recipe[UcdirConfig]):
    """Clusters of photos and clusters of sketches are brought together."""

    Config = UcdirConfig
    stage = "pretraining"
    summary = "clusters of photos and of sketches are brought together, unpaired"
    paper = "Hu 2022"
    distributed = "refused, since its keys live in one process"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        self.preservation = Preservation(self.config)
        return _TwoDomains(*self.preservation.parts(encoder))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Makes room for a key of every image, and asks the teacher about the photos."""
        refuse_several_processes("ucdir")
        refuse_single(self.name, data, self.config.batch)
        device = str(model.recall.weight.device)
        self.preservation.prepare(data, device)
        self.parts, first = {}, 0
        self.place = torch.full((len(data.manifest),), -1, dtype=torch.int64)
        for domain in (d for d in Domain if len(data.rows[d])):
            rows = torch.from_numpy(data.rows[domain])
            self.parts[domain] = slice(first, first + len(rows))
            self.place[rows] = first + torch.arange(len(rows))
            first += len(rows)
        most = max(self._groups(domain) for domain in self.parts)
        model.register_buffer("memory", torch.zeros(first, self.config.code, device=device))
        model.register_buffer("group", torch.zeros(first, dtype=torch.int64, device=device))
        model.register_buffer("prototypes", torch.zeros(2, most, self.config.code, device=device))

    def _groups(self, domain: Domain) -> int:
        part = self.parts[domain]
        return max(min(self.config.groups, (part.stop - part.start) // 4), 1)

    def before_epoch(self, model: Any, data: TrainingSet, epoch: int) -> None:
        """Fills the memory before the first epoch, and finds each domain's clusters among the keys."""
        for domain, part in self.parts.items():
            if not epoch:
                device = str(model.memory.device)
                code = embed(model.coded, data.pack, data.manifest, data.rows[domain], device=device)
                model.encoder.watch(code.to(device), torch.full((len(code),), int(domain), device=device))
                model.memory[part] = F.normalize(code - code.mean(0), dim=1).to(device)
            groups, keys = self._groups(domain), model.memory[part].cpu()
            group = clusters(keys, groups, self.config.seed)
            model.group[part] = group.to(model.group.device)
            centres = F.normalize(means_by(keys, group, groups), dim=1)
            model.prototypes[domain, :groups] = centres.to(model.prototypes.device)
        if not epoch:
            follow(model.slow, model.encoder, 0.0)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        code = model.coded(self.augment(batch.image, batch.domain), batch.domain)
        model.encoder.watch(code, batch.domain)
        query = F.normalize((code - model.encoder.domain_means[batch.domain]).float(), dim=1)
        with torch.no_grad():
            second = self.augment(batch.image, batch.domain)
            key = F.normalize(model.slow.eval()(second, batch.domain).float(), dim=1)
        place = self.place[batch.row.cpu()].to(batch.row.device)
        parts = [
            self._domain_terms(model, domain, query[of], key[of], place[of] - self.parts[domain].start)
            for domain in self.parts
            if (of := batch.domain == domain).any()
        ]
        terms = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        photo = batch.domain == Domain.PHOTO
        return terms | self.preservation.terms(model.recall(code[photo]), batch.row[photo])

    def _domain_terms(
        self, model: Any, domain: Domain, query: Tensor, key: Tensor, place: Tensor
    ) -> dict[str, Tensor]:
        config, memory = self.config, model.memory[self.parts[domain]]
        memory[place] = key
        groups = model.group[self.parts[domain]]
        centres = {d: model.prototypes[d, : self._groups(d)] for d in self.parts}
        rising, late = ramp(self.progress, config.begin, config.whole), float(self.progress >= config.whole)
        # A copy: the memory changes in place before the gradients are computed.
        kept, temperature = memory.clone(), config.temperature
        sure = sure_of(key, centres[domain], groups[place], temperature, config.sureness)
        grouped = cluster_contrast(query, kept, groups[place], groups, sure, temperature)
        entropy = torch.stack([self_entropy(query, c, config.sharpness) for c in centres.values()]).mean()
        terms = {
            "instances": config.instances * instance_contrast(query, kept, place, temperature),
            "clusters": config.clusters * rising * grouped,
            "entropy": config.entropy * late * entropy,
        }
        if len(centres) == 2:
            terms["distances"] = config.distances * late * distance_of_distances(query, *centres.values())
        return terms

    def after_step(self, model: Any, progress: float) -> None:  # noqa: ARG002
        follow(model.slow, model.encoder, self.config.momentum)
