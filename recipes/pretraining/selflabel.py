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

from ssl_sbir.augment import AugmentConfig
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.edges.attention import looked_at
from ssl_sbir.edges.drawings import Detector, Drawings
from ssl_sbir.encoders import Centred, DomainNormed, Encoder, Projected, Towers, load_encoder
from ssl_sbir.errors import DataError
from ssl_sbir.grouped import means_by
from ssl_sbir.objectives.contrast import both_ways
from ssl_sbir.objectives.evidence import Evidence
from ssl_sbir.objectives.preservation import Answers, classifier_of, coded, factorised
from ssl_sbir.objectives.recalling import refuse_no_photos
from ssl_sbir.objectives.selflabelling import assign, centred, clusters, diffused, nearness
from ssl_sbir.recipe import BatchConfig, EncoderConfig, OptimConfig, Recipe, RecipeConfig, register


class SelflabelConfig(RecipeConfig):
    """Settings of selflabel."""

    clusters: PositiveInt = Field(
        200, description="classes that the photos are divided into; at most one for every four photos"
    )
    edges: Detector = Field("mixed", description="what draws a photo's pseudo-sketch; hed needs its package")
    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher is asked about, in pixels"
    )
    code: PositiveInt = Field(512, description="width of the embedding")
    focus: float = Field(
        0.6, ge=0, le=1, description="share of the pseudo-sketches that keep only what the teacher looks at"
    )
    framing: float = Field(
        0.7, ge=0, le=1, description="share of the pseudo-sketches brought to the size of a sketch's ink"
    )
    domain_norms: bool = Field(True, description="batch norms keep sketches' statistics apart from photos'")
    sharpness: PositiveFloat = Field(0.05, description="temperature of the sketches' assignment")
    evidence: NonNegativeFloat = Field(1.0, description="what the frozen network counts in it, throughout")
    own: NonNegativeFloat = Field(
        1.5, description="what the encoder itself comes to count in it by the end of training"
    )
    alike: float = Field(
        0.8, ge=0, lt=1, description="what sketches count in it that look like the one in question"
    )
    evenness: float = Field(
        0.5,
        ge=0,
        le=1,
        description="1: all classes get equally many sketches, 0: as many as they have photos",
    )
    memory: float = Field(
        0.0, ge=0, lt=1, description="how much of a sketch's earlier codes counts when it is given a class"
    )
    trust: float = Field(0.4, gt=0, le=1, description="share of the sketches that is trusted at first")
    trust_end: float = Field(0.7, gt=0, le=1, description="share that is trusted in the end")
    temperature: PositiveFloat = Field(0.1, description="of the contrast's softmax")
    photo_classes: NonNegativeFloat = Field(1.0, description="weight of the photos' classes")
    sketch_classes: NonNegativeFloat = Field(1.0, description="weight of the sketches' classes")
    contrast: NonNegativeFloat = Field(0.5, description="weight of photo against its pseudo-sketch")
    preserve: NonNegativeFloat = Field(1.0, description="weight of what the teacher knows of photos")
    kinship: NonNegativeFloat = Field(1.0, description="weight of what the teacher knows of a sketch's class")
    encoder: EncoderConfig = Field(EncoderConfig(size=160), description="")
    augment: AugmentConfig = Field(AugmentConfig(perspective=0.2), description="")
    batch: BatchConfig = Field(BatchConfig(photos=24, sketches=40), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=2.5, lr=5e-4), description="")


class _Selflabelled(nn.Module):
    """Buffers, in the order of the run's rows: `label` (-1 not trusted, or none yet) and `seen`, the last codes."""

    label: Tensor
    seen: Tensor

    def __init__(self, encoder: Encoder, recall: nn.Linear, classes: int) -> None:
        super().__init__()
        self.encoder = Centred(encoder)
        self.recall = recall
        self.classify = nn.Linear(encoder.width, classes)


@register("selflabel")
class Selflabel(Recipe[SelflabelConfig]):
    """Photos name the classes, drawings are shared out among them."""

    Config = SelflabelConfig
    stage = "pretraining"
    summary = "photos' clusters are the classes, drawings are shared out among them"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        asked, fit = self.config.teacher, encoder.preprocess.fit
        self.teacher = load_encoder(asked, size=self.config.teacher_size, fit=fit)
        code, recall = factorised(classifier_of(self.teacher, asked), self.config.code)
        if self.config.domain_norms and not isinstance(encoder, Centred | Projected | Towers):
            encoder = DomainNormed(encoder)  # a run that is gone on with keeps the norms it has
        return _Selflabelled(coded(encoder, code), recall, self.config.clusters)

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Clusters the photos, and asks the teacher about them."""
        refuse_no_photos(self.name, self.config.batch)
        photos = data.rows[Domain.PHOTO]
        if len(photos) < 8:
            raise DataError(
                f"{data.manifest.name} has {len(photos)} photos: too few to find classes among",
                "Give at least eight; without photos take another recipe, such as simclr.",
            )
        self.clusters = min(self.config.clusters, len(photos) // 4)
        device = str(model.recall.weight.device)
        head = classifier_of(self.teacher, self.config.teacher)
        seen, attention = looked_at(self.teacher, head, data, device=device)
        self.answers = Answers(head.cpu()(seen).detach(), attention.place)
        self.photo_class = clusters(seen, self.clusters, self.config.seed)
        answers = self.answers.logits.softmax(-1)
        self.class_answers = means_by(answers, self.photo_class, self.clusters).to(device)
        self.drawings = Drawings.of(self.config.edges, data, device).like_sketches(
            attention, self.config.focus, self.config.framing
        )
        self.evidence = self._evidence(seen, data, device)
        self.place, images = data.places(Domain.PHOTO, Domain.SKETCH), sum(map(len, data.rows.values()))
        label = torch.full((images,), -1, dtype=torch.int64)
        label[: len(photos)] = self.photo_class
        model.register_buffer("label", label.to(device))
        model.register_buffer("seen", torch.zeros(images, self.config.code, device=device))

    def _evidence(self, seen: Tensor, data: TrainingSet, device: str) -> Evidence | None:
        if not len(data.rows[Domain.SKETCH]):
            return None
        return Evidence.of(
            self.teacher, seen, self.photo_class, self.clusters, data, self.drawings, device=device
        )

    def before_epoch(self, model: Any, data: TrainingSet, epoch: int) -> None:
        """Shares the sketches out among the photos' classes, by the codes they had when last seen."""
        config = self.config
        if self.evidence is None or not (epoch or config.evidence):
            return
        photos, codes = len(data.rows[Domain.PHOTO]), model.seen.cpu()
        scores, features = config.evidence * self.evidence.scores, [self.evidence.sketches]
        if epoch:
            met = codes.any(1)  # a rest below one batch hasn't had its turn yet
            examples, items = met[:photos], met[photos:, None]
            near = nearness(
                codes[photos:], codes[:photos][examples], self.photo_class[examples], self.clusters
            )
            scores = scores + 2 * config.own * self.progress * near * items
            features.append(centred(codes[photos:]) * items)
        given = assign(
            diffused(scores, torch.cat(features, 1), share=config.alike),
            self.photo_class.bincount(minlength=self.clusters),
            temperature=config.sharpness,
            evenness=config.evenness,
            share=config.trust + (config.trust_end - config.trust) * self.progress,
        )
        model.label[photos:] = given.label.masked_fill(~given.trusted, -1).to(model.label.device)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        photo, place = batch.domain == Domain.PHOTO, self.place[batch.row.cpu()].to(batch.row.device)
        image = torch.cat([batch.image, self.drawings(batch)])
        domain = torch.cat([batch.domain, batch.domain[photo].fill_(Domain.SKETCH)])
        code = model.encoder.encoder(self.augment(image, domain), domain)
        real, pseudo = code[: len(photo)], code[len(photo) :]
        # Where there are no sketches, the drawings' mean is taken for theirs.
        watched = len(image) if photo.all() else len(photo)
        model.encoder.watch(code[:watched], domain[:watched])
        self._remember(model, real, place)
        label = model.label[place]
        both = torch.cat([real[photo], pseudo])
        given = ~photo & (label >= 0)
        recalled, taught = model.recall(both), self.answers(batch.row[photo]).softmax(-1)
        terms = {
            "photo_classes": F.cross_entropy(model.classify(both), label[photo].repeat(2)),
            "sketch_classes": F.cross_entropy(model.classify(real[given]), label[given], reduction="sum"),
            "contrast": both_ways(real[photo], pseudo, self.config.temperature),
            "preserve": F.cross_entropy(recalled, taught.repeat(2, 1)),
            "kinship": F.cross_entropy(
                model.recall(real[given]), self.class_answers[label[given]], reduction="sum"
            ),
        }
        for name in ("sketch_classes", "kinship"):  # a mean over all sketches: few trusted ones weigh little
            terms[name] = terms[name] / (~photo).sum().clamp(min=1)
        return {name: getattr(self.config, name) * term for name, term in terms.items()}

    @torch.no_grad()
    def _remember(self, model: Any, code: Tensor, place: Tensor) -> None:
        if world_size() > 1:  # every process shares out all sketches
            code, place = torch.cat(gather(code)), torch.cat(gather(place))
        old, new = model.seen[place], F.normalize(code.float(), dim=1)
        kept = self.config.memory * old.any(1, keepdim=True)
        model.seen[place] = kept * old + (1 - kept) * new
