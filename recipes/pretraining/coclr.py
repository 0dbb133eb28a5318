"""CoCLR: photos and their drawings mine positives for each other.

T. Han, W. Xie, A. Zisserman: Self-supervised Co-training for Video Representation Learning, NeurIPS 2020; there
the two views of a video are its colours and its motion; here those of a photo are its pixels and its edges.

Each view has its own encoder, a momentum encoder that computes keys, and a queue of keys (MoCo).

Terms
    photos            a random view of a photo is matched with its positives among the photos' keys. In the first part
                      of a run (until `mining_start`) the only positive is another view of the photo. Later also the
                      `neighbours` photos whose *drawings* are most similar by the drawings' encoder, then frozen.
    drawings          the same for pseudo-sketches, with positives mined by the photos' encoder. The views alternate
                      in `turns`, photos first; in each turn mining waits until the queue is full of new keys.
    sketch_contrast   a random view of a real sketch is matched with another view of it, among the keys of sketches
                      and of drawings, whenever the drawings' encoder is trained. No photo shows what else it
                      resembles, so nothing is mined for it. With `batch.pairs` a photo's own sketch replaces its
                      pseudo-sketch.
    distillation      not in the paper: both towers' embeddings predict the frozen teacher's classes of the photo.
                      CoCLR compares within a view only; this keeps the embeddings of both comparable.

As in the released code, an image's own key doesn't count as a positive in nine of ten mined batches, and earlier
keys of the same image do.

Departures: one run instead of one for each phase; keys use averaged norm statistics (EMAN) instead of shuffled
batches; the momentum is .99, not .999, at which the copy would hardly move in a short run. While the views alternate,
the embedding layer is frozen, so that the embeddings of the other view don't change. Published: momentum=.999 turns=4
distillation=0. One process only.

Run    ssl-sbir pretrain coclr --data folder:archive/ --out runs/archive
Cost   each photo, its drawing and each sketch pass an encoder twice, once without gradients.
"""

import copy
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.choices import EdgeDetector
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.encoders import DomainCentredEncoder, Encoder, ProjectedEncoder, TwoTowerEncoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.fusion import VocabularySide, trained_text_side
from ssl_sbir.objectives.distillation_settings import DistillationConfig
from ssl_sbir.objectives.positive_mining import (
    KeyQueue,
    drop_own_key,
    mine_positives,
    multi_positive_info_nce,
)
from ssl_sbir.objectives.teacher_distillation import DistillationModel, TeacherDistillation, update_ema
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.recipe_checks import check_has_photos, check_single_process
from ssl_sbir.training.settings import BatchConfig, EncoderConfig, OptimConfig, RecipeConfig


class CoclrConfig(DistillationConfig, RecipeConfig):
    """Settings of CoCLR."""

    edge_detector: EdgeDetector = Field(
        "mixed", description="edge detector of the pseudo-sketches; hed needs its package"
    )
    projection_dim: PositiveInt = Field(
        128, description="width of the projection that is compared; published: 128"
    )
    queue_size: PositiveInt = Field(
        2048, description="keys in a queue; at most as many as there are images; published: 2048"
    )
    momentum: float = Field(
        0.99, ge=0, lt=1, description="momentum of the momentum encoders; published: .999"
    )
    temperature: PositiveFloat = Field(
        0.07, description="temperature of the softmax over keys; published: .07"
    )
    neighbours: PositiveInt = Field(5, description="positives mined in the other view; published: 5")
    own_key_mask_prob: float = Field(
        0.9, ge=0, le=1, description="probability that an image's own key doesn't count; published: .9"
    )
    mining_start: float = Field(0.5, ge=0, le=1, description="fraction of the run before anything is mined")
    turns: PositiveInt = Field(2, description="turns of the views in the rest of the run; published: 4")
    sketch_contrast: NonNegativeFloat = Field(1.0, description="weight of the contrast of real sketches")
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
    """A tower for each view, each with its projection, momentum encoder and queue of keys.

    Attributes:
        turn: number of the last turn begun; 0 while both views are trained.
        view_queue: keys of photos and of their drawings, at the same index.
        sketch_queue: keys of real sketches.
    """

    turn: Tensor
    view_queue: KeyQueue
    sketch_queue: KeyQueue

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
        tower = towers.sketch if view is Domain.SKETCH else towers.photo
        return _ViewEncoder(tower, self.projection_heads[view], view)

    @torch.no_grad()
    def embed_keys(self, image: Tensor, view: Domain) -> Tensor:
        """Unit vectors [b, projection_dim] of a view's images by its momentum encoder."""
        encoder = cast("_ViewEncoder", self.momentum_encoders[view]).eval()
        return F.normalize(encoder.projection_head(encoder(image)).float(), dim=1)

    def update_momentum_encoder(self, view: Domain, momentum: float) -> None:
        """Moves a view's momentum encoder towards its tower and projection."""
        update_ema(self.momentum_encoders[view], self.online_encoder(view), momentum)

    def begin_turn(self, turn: int) -> None:
        """Starts a turn with new copies and, until the queue is refilled, without mining."""
        self.turn.fill_(turn)
        self.view_queue.mark_stale()
        for view in Domain:
            self.update_momentum_encoder(view, 0.0)


class _ViewEncoder(nn.Module):
    def __init__(self, encoder: Encoder, projection_head: nn.Module, view: Domain) -> None:
        super().__init__()
        self.encoder, self.projection_head, self.view = encoder, projection_head, view

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(image, torch.full((len(image),), int(self.view), device=image.device))


@register_recipe("coclr")
class Coclr(Recipe[CoclrConfig, _CoclrModel]):
    """Photos and their drawings mine positives for each other."""

    Config = CoclrConfig
    stage = "pretraining"
    summary = "photos and their drawings mine positives for each other"
    paper = "Han 2020"
    distributed = "refused, since its keys live in one process"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _CoclrModel:
        assert not classes, "pretraining sees no labels"
        bare = encoder.encoder if isinstance(encoder, DomainCentredEncoder) else encoder
        if isinstance(bare, ProjectedEncoder) and bare.width != self.config.embedding_dim:
            bare = bare.encoder  # an embedding layer of another width is replaced by a new one
        if not isinstance(bare.encoder if isinstance(bare, ProjectedEncoder) else bare, TwoTowerEncoder):
            raise ConfigError("coclr needs an encoder for each view", "Set encoder.towers=separate.")
        self.distillation = TeacherDistillation(self.config)
        return _CoclrModel(*self.distillation.encoder_and_head(bare), self.config.projection_dim)

    def text_side(self, model: _CoclrModel) -> VocabularySide | None:
        """The teacher's words, in the directions of the teacher head; None if that head isn't trained."""
        return trained_text_side(self.distillation.teacher, model.teacher_head, self.config.distillation)

    def prepare(self, model: _CoclrModel, data: TrainingSet) -> None:
        """Creates the queues, computes the teacher's logits, and edges if a network detects them."""
        check_has_photos(self.name, self.config.batch)
        check_single_process("coclr")
        device = str(model.teacher_head.weight.device)
        self.pseudo_sketcher = PseudoSketcher.for_training_set(self.config.edge_detector, data, device)
        self.distillation.query_teacher(data, device)
        self.instance = torch.from_numpy(data.manifest.instance)
        model.view_queue = self._key_queue(2, len(data.rows[Domain.PHOTO])).to(device)
        model.sketch_queue = self._key_queue(1, len(data.rows[Domain.SKETCH])).to(device)

    def _key_queue(self, views: int, images: int) -> KeyQueue:
        return KeyQueue(views, min(self.config.queue_size, max(images, 1)), self.config.projection_dim)

    def loss(self, model: _CoclrModel, batch: Batch) -> Mapping[str, Tensor]:
        views, photo = self._training_views(model), batch.domain == Domain.PHOTO
        row = batch.row[photo]
        image = {Domain.PHOTO: batch.image[photo], Domain.SKETCH: self._draw_photos(batch)}
        keys = {view: model.embed_keys(self._augment_view(image[view], view), view) for view in Domain}
        terms, student_logits = dict[str, Tensor](), []
        for view in views:
            # The sketches' mean is that of real sketches, where there are any.
            averaged = view is Domain.PHOTO or bool(photo.all())
            features = self._embed_view(model, image[view], view, update_means=averaged)
            student_logits.append(self._student_logits(model, features))
            terms[COCLR_TERM_NAMES[view]] = self._view_contrast(model, view, features, row, keys)
        if Domain.SKETCH in views and not photo.all():
            contrast = self._sketch_contrast(model, batch, photo)
            terms["sketch_contrast"] = self.config.sketch_contrast * contrast
        model.view_queue.enqueue_keys(torch.stack([keys[view] for view in sorted(Domain)]), row)
        return terms | self.distillation.loss_terms(torch.cat(student_logits), row)

    def _training_views(self, model: _CoclrModel) -> tuple[Domain, ...]:
        """The views that are trained now: both at first, later one in each turn."""
        config = self.config
        if self._trains_both_views:
            return (Domain.PHOTO, Domain.SKETCH)
        turn = int((self.progress - config.mining_start) / (1 - config.mining_start) * config.turns)
        if turn + 1 > int(model.turn):
            model.begin_turn(turn + 1)
        return (Domain.SKETCH if turn % 2 else Domain.PHOTO,)

    @property
    def _trains_both_views(self) -> bool:
        return self.progress < self.config.mining_start

    def _student_logits(self, model: _CoclrModel, features: Tensor) -> Tensor:
        weight = model.uncentered_encoder.linear.weight
        embeddings = F.linear(features, weight if self._trains_both_views else weight.detach())
        return model.teacher_head(embeddings)

    def _view_contrast(
        self, model: _CoclrModel, view: Domain, features: Tensor, row: Tensor, keys: Mapping[Domain, Tensor]
    ) -> Tensor:
        positive = self._positive_keys(model.view_queue, row, keys, Domain(1 - view))
        # A copy: the queue changes in place before the gradients are computed.
        queue, query = model.view_queue.keys[view].clone(), model.projection_heads[view](features)
        return multi_positive_info_nce(query, keys[view], queue, positive, self.config.temperature)

    def _positive_keys(
        self, queue: KeyQueue, row: Tensor, keys: Mapping[Domain, Tensor], other_view: Domain
    ) -> Tensor:
        same_image = row[:, None] == queue.row
        if self._trains_both_views or not queue.is_full:
            return mine_positives(None, same_image, 0)
        similarity = keys[other_view] @ queue.keys[other_view].T
        positive = mine_positives(similarity, same_image, self.config.neighbours)
        return drop_own_key(positive) if torch.rand(()) < self.config.own_key_mask_prob else positive

    def _sketch_contrast(self, model: _CoclrModel, batch: Batch, photo: Tensor) -> Tensor:
        image, row, queue = batch.image[~photo], batch.row[~photo], model.sketch_queue
        own_key = model.embed_keys(self._augment_view(image, Domain.SKETCH), Domain.SKETCH)
        features = self._embed_view(model, image, Domain.SKETCH, update_means=True)
        query = model.projection_heads[Domain.SKETCH](features)
        keys = torch.cat([queue.keys[0], model.view_queue.keys[Domain.SKETCH]])
        own_photo = self._own_photo_keys(row, model.view_queue.row)
        positive = mine_positives(None, torch.cat([row[:, None] == queue.row, own_photo], 1), 0)
        queue.enqueue_keys(own_key[None], row)
        return multi_positive_info_nce(query, own_key, keys, positive, self.config.temperature)

    def _own_photo_keys(self, sketch: Tensor, photo: Tensor) -> Tensor:
        """Which photos' keys are of a sketch's own photo, if `batch.pairs` is set; [sketches, photos]."""
        if not self.config.batch.pairs:
            return torch.zeros(len(sketch), len(photo), dtype=torch.bool, device=sketch.device)
        instance = self.instance.to(sketch.device)
        photo_instance = instance[photo.clamp(min=0)]
        same = instance[sketch][:, None] == photo_instance
        return same & (photo_instance >= 0) & (photo >= 0)

    def _embed_view(self, model: _CoclrModel, image: Tensor, view: Domain, *, update_means: bool) -> Tensor:
        """Features of a random view of each image; their embeddings update the domain's mean if wanted."""
        features = model.online_encoder(view)(self._augment_view(image, view))
        if update_means:
            embeddings = model.uncentered_encoder.linear(features.detach()).detach()
            domain = torch.full((len(image),), int(view), device=image.device)
            model.encoder.update_domain_means(embeddings, domain)
        return features

    def _augment_view(self, image: Tensor, view: Domain) -> Tensor:
        return self.augment(image, torch.full((len(image),), int(view), device=image.device))

    def _draw_photos(self, batch: Batch) -> Tensor:
        """The second view of each photo of a batch: its pseudo-sketch, or its own sketch where pairs are known."""
        photo, drawings = batch.domain == Domain.PHOTO, self.pseudo_sketcher(batch)
        if self.config.batch.pairs and not photo.all():
            instance = self.instance[batch.row.cpu()].to(batch.row.device)
            same = (instance[photo][:, None] == instance[~photo]) & (instance[photo] >= 0)[:, None]
            paired = same.any(1)
            drawings[paired] = batch.image[~photo][same[paired].int().argmax(1)]
        return drawings

    def after_step(self, model: _CoclrModel, progress: float) -> None:  # noqa: ARG002
        for view in self._training_views(model):
            model.update_momentum_encoder(view, self.config.momentum)
