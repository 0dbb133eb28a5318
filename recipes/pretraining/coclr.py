"""CoCLR: photos and their drawings teach each other which images are alike.

T. Han, W. Xie, A. Zisserman: Self-supervised Co-training for Video Representation Learning, NeurIPS 2020; there
the two views of a video are its colours and its motion, here those of a photo are its pixels and its edges.

Each view has an encoder of its own, a slow copy of it that makes keys, and a queue of keys (MoCo).

Terms
    photos      a random view of a photo finds its positives among the queue's keys of photos. In the first part
                of a run (`mining_start`) that is another view of itself. After it, also the `neighbours` photos whose
                *drawings* the drawings' encoder, then frozen, holds most alike.
    drawings    the same for pseudo-sketches, positives being mined by the photos' encoder. The views learn in
                `turns`, photos first; each time mining waits until the queue is full of new keys.
    sketches    a random view of a real sketch finds another one of itself, among the keys of sketches and of
                drawings, whenever the drawings' encoder learns. No photo says what else it resembles, so nothing
                is mined for it. With `batch.pairs` a photo's own sketch stands in for its pseudo-sketch.
    preserve    not in the paper: both towers' codes recall the frozen teacher's answer about the photo. CoCLR
                compares within a view only; this is what keeps the codes of both comparable.

As in the released code, an image's own key doesn't count as a positive in nine of ten mined batches, and earlier
keys of the same image do. Departures: one run in place of one for each phase; keys are made with averaged norm
statistics (EMAN) in place of shuffled batches; the momentum is .99, not .999, whose copy would hardly move in a
short run. While the views take turns, the layer that makes codes of features rests, so that the codes of the view
that isn't learning stay where they are. Published: momentum=.999 turns=4 preserve=0. One process only.

Run    ssl-sbir pretrain coclr --data folder:archive/ --out runs/archive
Cost   a photo, its drawing and a sketch pass twice each, once without gradients.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.kornia_views import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.pseudo_sketches import EdgeDetector, PseudoSketcher
from ssl_sbir.encoders import DomainCentredEncoder, Encoder, ProjectedEncoder, TwoTowerEncoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives.positive_mining import (
    KeyQueue,
    drop_own_key,
    mine_positives,
    multi_positive_info_nce,
)
from ssl_sbir.objectives.teacher_distillation import (
    DistillationConfig,
    DistillationModel,
    TeacherDistillation,
    check_has_photos,
    check_single_process,
    update_ema,
)
from ssl_sbir.training.recipe import BatchConfig, EncoderConfig, OptimConfig, Recipe, register_recipe


class CoclrConfig(DistillationConfig):
    """Settings of CoCLR."""

    edge_detector: EdgeDetector = Field(
        "mixed", description="what draws a photo's pseudo-sketch; hed needs its package"
    )
    projection_dim: PositiveInt = Field(128, description="width of the space of the contrast; published: 128")
    queue_size: PositiveInt = Field(
        2048, description="keys in a queue; at most as many as there are images; published: 2048"
    )
    momentum: float = Field(0.99, ge=0, lt=1, description="of the slow copies; published: .999")
    temperature: PositiveFloat = Field(0.07, description="of the softmax over keys; published: .07")
    neighbours: PositiveInt = Field(5, description="positives mined in the other view; published: 5")
    own_key_mask_prob: float = Field(
        0.9, ge=0, le=1, description="chance that an own key doesn't count; published: .9"
    )
    mining_start: float = Field(0.5, ge=0, le=1, description="share of the run before anything is mined")
    turns: PositiveInt = Field(2, description="turns of the views in the rest of it; published: 4")
    sketch_contrast: NonNegativeFloat = Field(1.0, description="weight of the real sketches' contrast")
    encoder: EncoderConfig = Field(EncoderConfig(towers="separate"), description="")
    augment: AugmentConfig = Field(
        AugmentConfig(
            min_crop_area=0.3,
            color_jitter=0.5,
            grayscale=0.2,
            elastic=0.015,
            stroke_width=0.5,
            stroke_gaps=0.5,
        ),
        description="",
    )
    batch: BatchConfig = Field(BatchConfig(photos=32, sketches=16), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=4), description="")


COCLR_TERM_NAMES = {Domain.PHOTO: "photos", Domain.SKETCH: "drawings"}


class _CoclrModel(DistillationModel):
    """One tower a view, each with its projection, its slow copy and its keys; `turn` is the last one begun."""

    turn: Tensor

    def __init__(self, encoder: ProjectedEncoder, teacher_head: nn.Linear, width: int) -> None:
        super().__init__(encoder, teacher_head)
        features = encoder.encoder.width
        self.projection_heads = nn.ModuleList(MoCoProjectionHead(features, features, width) for _ in Domain)
        self.momentum_encoders = nn.ModuleList(
            copy.deepcopy(self.online_encoder(view)) for view in Domain
        ).requires_grad_(False)
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))

    def online_encoder(self, view: Domain) -> "_ViewEncoder":
        """A view's tower and projection."""
        towers = self.uncentered_encoder.encoder
        assert isinstance(towers, TwoTowerEncoder)
        return _ViewEncoder(
            towers.sketch if view is Domain.SKETCH else towers.photo, self.projection_heads[view], view
        )

    @torch.no_grad()
    def embed_keys(self, image: Tensor, view: Domain) -> Tensor:
        """Unit vectors [b, projection] by a view's slow copy."""
        slow: Any = self.momentum_encoders[view].eval()
        return F.normalize(slow.project(slow(image)).float(), dim=1)


class _ViewEncoder(nn.Module):
    def __init__(self, encoder: Encoder, projection_head: nn.Module, view: Domain) -> None:
        super().__init__()
        self.encoder, self.projection_head, self.view = encoder, projection_head, view

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(image, torch.full((len(image),), int(self.view), device=image.device))


@register_recipe("coclr")
class Coclr(Recipe[CoclrConfig]):
    """Photos and their drawings teach each other which images are alike."""

    Config = CoclrConfig
    stage = "pretraining"
    summary = "photos and their drawings find each other's positives"
    paper = "Han 2020"
    distributed = "refused, since its keys live in one process"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        bare = encoder.encoder if isinstance(encoder, DomainCentredEncoder) else encoder
        if isinstance(bare, ProjectedEncoder) and bare.width != self.config.embedding_dim:
            bare = bare.encoder  # a code of another width gives way to a new one
        if not isinstance(bare.encoder if isinstance(bare, ProjectedEncoder) else bare, TwoTowerEncoder):
            raise ConfigError("coclr needs an encoder for each view", "Set encoder.towers=separate.")
        self.preservation = TeacherDistillation(self.config)
        return _CoclrModel(*self.preservation.encoder_and_head(bare), self.config.projection_dim)

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Empties the queues, asks the teacher, and draws the photos' edges where a network does it."""
        check_has_photos(self.name, self.config.batch)
        check_single_process("coclr")
        device = str(model.recall.weight.device)
        self.drawings = PseudoSketcher.for_training_set(self.config.edge_detector, data, device)
        self.preservation.query_teacher(data, device)
        self.instance = torch.from_numpy(data.manifest.instance)
        for name, domain, views in (("queue", Domain.PHOTO, 2), ("sketch_queue", Domain.SKETCH, 1)):
            size = min(self.config.queue_size, max(len(data.rows[domain]), 1))
            model.add_module(name, KeyQueue(views, size, self.config.projection_dim).to(device))

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        learning = self._learning_views(model)
        photo = batch.domain == Domain.PHOTO
        row, image = (
            batch.row[photo],
            {Domain.PHOTO: batch.image[photo], Domain.SKETCH: self._draw_photos(batch)},
        )
        key = {view: model.key(self._augment_view(image[view], view), view) for view in Domain}
        terms, recalled = dict[str, Tensor](), []
        for view in learning:
            # The means are those of real sketches, where there are any.
            feature = self._embed_view(
                model, image[view], view, watched=view is Domain.PHOTO or bool(photo.all())
            )
            linear = model.coded.linear.weight
            code = F.linear(feature, linear if len(learning) == 2 else linear.detach())
            recalled.append(model.recall(code))
            other = None if len(learning) == 2 else Domain(1 - view)
            positive = self._positive_keys(model.queue, row, key, other)
            # A copy: the queue changes in place before the gradients are computed.
            queue, query = model.queue.keys[view].clone(), model.project[view](feature)
            terms[COCLR_TERM_NAMES[view]] = multi_positive_info_nce(
                query, key[view], queue, positive, self.config.temperature
            )
        if Domain.SKETCH in learning and not photo.all():
            terms["sketches"] = self.config.sketch_contrast * self._sketch_contrast(model, batch, photo)
        model.queue.enter(torch.stack([key[view] for view in sorted(Domain)]), row)
        return terms | self.preservation.loss_terms(torch.cat(recalled), row)

    def _learning_views(self, model: Any) -> tuple[Domain, ...]:
        """The views that learn now: both, or one of them in turn; a turn starts from fresh copies and keys."""
        config = self.config
        if self.progress < config.mining_start:
            return (Domain.PHOTO, Domain.SKETCH)
        turn = int((self.progress - config.mining_start) / (1 - config.mining_start) * config.turns)
        if turn + 1 > int(model.turn):
            model.turn.fill_(turn + 1)
            model.queue.renew()
            for view in Domain:
                update_ema(model.slow[view], model.fast(view), 0.0)
        return (Domain.SKETCH if turn % 2 else Domain.PHOTO,)

    def _positive_keys(
        self, queue: KeyQueue, row: Tensor, key: Mapping[Domain, Tensor], other: Domain | None
    ) -> Tensor:
        same = row[:, None] == queue.row
        if other is None or not queue.is_full:
            return mine_positives(None, same, 0)
        positive = mine_positives(key[other] @ queue.keys[other].T, same, self.config.neighbours)
        return drop_own_key(positive) if torch.rand(()) < self.config.own_key_mask_prob else positive

    def _sketch_contrast(self, model: Any, batch: Batch, photo: Tensor) -> Tensor:
        image, row, queue = batch.image[~photo], batch.row[~photo], model.sketch_queue
        own = model.key(self._augment_view(image, Domain.SKETCH), Domain.SKETCH)
        query = model.project[Domain.SKETCH](self._embed_view(model, image, Domain.SKETCH, watched=True))
        keys = torch.cat([queue.keys[0], model.queue.keys[Domain.SKETCH]])
        own_photo = self._own_photo_keys(row, model.queue.row)
        positive = mine_positives(None, torch.cat([row[:, None] == queue.row, own_photo], 1), 0)
        queue.enter(own[None], row)
        return multi_positive_info_nce(query, own, keys, positive, self.config.temperature)

    def _own_photo_keys(self, sketch: Tensor, photo: Tensor) -> Tensor:
        """Which photos' keys are of the very sketches: those of their own photos, where pairs are known and used."""
        if not self.config.batch.pairs:
            return torch.zeros(len(sketch), len(photo), dtype=torch.bool, device=sketch.device)
        instance = self.instance.to(sketch.device)
        entered = photo >= 0
        of_photo = instance[photo.clamp(min=0)]
        same = instance[sketch][:, None] == of_photo
        return same & (of_photo >= 0) & entered

    def _embed_view(self, model: Any, image: Tensor, view: Domain, *, watched: bool) -> Tensor:
        """Features of a random view of each image; their codes move the domain's mean, if they are watched."""
        feature = model.fast(view)(self._augment_view(image, view))
        if watched:
            code = model.coded.linear(feature.detach()).detach()
            model.encoder.watch(code, torch.full((len(image),), int(view), device=image.device))
        return feature

    def _augment_view(self, image: Tensor, view: Domain) -> Tensor:
        return self.augment(image, torch.full((len(image),), int(view), device=image.device))

    def _draw_photos(self, batch: Batch) -> Tensor:
        """The second view of each photo of a batch: its pseudo-sketch, or its own sketch where that is there."""
        photo, drawn = batch.domain == Domain.PHOTO, self.drawings(batch)
        if self.config.batch.pairs and not photo.all():
            instance = self.instance[batch.row.cpu()].to(batch.row.device)
            same = (instance[photo][:, None] == instance[~photo]) & (instance[photo] >= 0)[:, None]
            has = same.any(1)
            drawn[has] = batch.image[~photo][same[has].int().argmax(1)]
        return drawn

    def after_step(self, model: Any, progress: float) -> None:  # noqa: ARG002
        for view in self._learning_views(model):
            update_ema(model.slow[view], model.fast(view), self.config.momentum)
