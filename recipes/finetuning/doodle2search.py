"""Doodle2Search: a sketch is nearer to photos of its class than to others, and predicts its class's word vector.

S. Dey, P. Riba, A. Dutta, J. Lladós, Y.-Z. Song: Doodle to Search: Practical Zero-Shot Sketch-based Image Retrieval,
CVPR 2019.

Every sketch of a batch is an anchor of class y; a photo of its class (positive) and one of another class (negative) are
sampled for it, the other class with a probability proportional to exp(−‖v_y − v_n‖² / negative_temperature).

Terms
    triplet    max(0, d(sketch, positive) − d(sketch, negative) + margin), Euclidean as published.
    semantic   ½(1 − cos) between the word vector of y and the one that a small network predicts from the sketch, from
               the positive and, through a reversed gradient, from the negative, which must not predict y.
    domain     cross-entropy of a discriminator of sketches and photos, through a reversed gradient whose strength
               grows from 0 at `ramp_start` to 1 at `ramp_end`, so that the domains become indistinguishable.

Each domain has its own tower (`encoder.towers=separate`), with spatial attention (`attention`) and a linear embedding
layer.

Departures: any encoder replaces VGG16-BN, and AdamW replaces SGD. The embedding layer is initialised with the principal
axes of the encoder's features of the training images, less each domain's mean, and the attention is uniform at first,
so that training starts from the encoder's knowledge; `--preset doodle2search-published` restores VGG16-BN, SGD and the
random initialisation. The paper's ramp counts epochs; its released code counts batches within the epoch
(`ramp_unit=batch`), so that every epoch starts without the domain term. Without `semantics` there is no semantic term
and all other classes are equally likely negatives. With `mining` other than random, negatives are chosen among all
photos of the batch. Images without a label are not used.

Run    ssl-sbir finetune doodle2search --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/doodle2search
Cost   three images per sketch.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.class_sampling import ImagesByClass
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import (
    EdgeAugmentedEncoder,
    Encoder,
    ProjectedEncoder,
    SpatialAttentionEncoder,
    TwoTowerEncoder,
)
from ssl_sbir.encoders.domain_heads import principal_axes
from ssl_sbir.encoders.frozen_features import FrozenFeatures
from ssl_sbir.objectives.adversarial import domain_adversarial_loss, reverse_gradient
from ssl_sbir.objectives.choices import Distance, NegativeMining, UnknownClasses
from ssl_sbir.objectives.semantic_losses import class_vectors, negative_weights, semantic_reconstruction
from ssl_sbir.objectives.triplet import mine_negatives, pairwise_distances, triplet_loss
from ssl_sbir.objectives.weight_ramp import linear_ramp
from ssl_sbir.training.loop import total_steps
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.settings import BatchConfig, EncoderConfig, OptimConfig, RecipeConfig


class Doodle2SearchConfig(RecipeConfig):
    """Settings of Doodle2Search."""

    embedding_dim: PositiveInt = Field(256, description="width of the embedding; published: 256")
    embedding_init: Literal["principal", "random"] = Field(
        "principal",
        description="initial embedding layer: principal axes of the training images' features; published: random",
    )
    attention: bool = Field(True, description="spatial attention on each feature map; published: true")
    margin: NonNegativeFloat = Field(1.0, description="margin of the triplets; published: 1")
    distance: Distance = Field("euclidean", description="distance of the triplets; published: euclidean")
    mining: NegativeMining = Field(
        "random", description="how negatives are chosen; published: random, by `negative_temperature`"
    )
    semantics: str | None = Field(
        "glove", description="source of word vectors or similarity; none: no semantic term"
    )
    unknown_classes: UnknownClasses = Field(
        "refuse", description="classes missing from semantics: refuse, or neutral (a zero vector)"
    )
    negative_temperature: PositiveFloat | None = Field(
        0.1,
        description="small: negatives come from the closest classes; none: from all equally; published: .1",
    )
    triplet: NonNegativeFloat = Field(1.0, description="weight of the triplets; published: 1")
    semantic: NonNegativeFloat = Field(1.0, description="weight of the semantic term; published: 1")
    gradient_reversal: NonNegativeFloat = Field(
        0.5, description="strength of the negative's reversed semantic gradient; published: .5"
    )
    domain: NonNegativeFloat = Field(1.0, description="weight of the domain term; published: 1")
    ramp_start: NonNegativeFloat = Field(1.0, description="where the domain term starts; published: 5")
    ramp_end: PositiveFloat = Field(5.0, description="where the domain term has full strength; published: 25")
    ramp_unit: Literal["epoch", "batch"] = Field(
        "epoch", description="what the ramp counts: epochs (paper) or batches within one (released code)"
    )
    encoder: EncoderConfig = Field(EncoderConfig(towers="separate"), description="")
    batch: BatchConfig = Field(BatchConfig(sketches=16, photos=0), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=5), description="")


class _DoodleModel(nn.Module):
    """An encoder with the heads of its terms.

    Attributes:
        class_meanings: word vector of each class; None without `semantics`.
        negative_probabilities: of each class (column) as the negative of each class (row).
    """

    class_meanings: Tensor | None
    negative_probabilities: Tensor

    def __init__(
        self, encoder: Encoder, class_meanings: Tensor | None, negative_probabilities: Tensor
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("class_meanings", class_meanings)
        self.register_buffer("negative_probabilities", negative_probabilities)
        if class_meanings is not None:
            self.semantic_head = nn.Sequential(
                nn.Linear(encoder.width, 300),
                nn.ReLU(),
                nn.Dropout(),
                nn.Linear(300, class_meanings.shape[1]),
            )
        self.discriminator = nn.Sequential(
            nn.Linear(encoder.width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        )


@register_recipe("doodle2search")
class Doodle2Search(Recipe[Doodle2SearchConfig, _DoodleModel]):
    """A sketch is nearer to photos of its class than to others, and predicts its class's word vector."""

    Config = Doodle2SearchConfig
    stage = "finetuning"
    summary = "triplets of a sketch and two photos, word vectors, indistinguishable domains"
    paper = "Dey 2019"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _DoodleModel:
        config, meanings = self.config, None
        other_class = 1 - torch.eye(len(classes))
        probabilities = other_class / other_class.sum(1, keepdim=True).clamp(min=1)
        if config.semantics is not None:
            meanings = class_vectors(config.semantics, classes, config.unknown_classes)
            if config.negative_temperature:
                probabilities = negative_weights(meanings, config.negative_temperature)
        return _DoodleModel(self.build_tower(encoder), meanings, probabilities)

    def build_tower(self, encoder: Encoder) -> Encoder:
        """The encoder, or each tower of it, with attention and an embedding layer."""
        if isinstance(encoder, TwoTowerEncoder):
            return TwoTowerEncoder(self.build_tower(encoder.sketch), self.build_tower(encoder.photo))
        attended = SpatialAttentionEncoder(encoder) if self.config.attention else encoder
        return ProjectedEncoder(attended, nn.Linear(encoder.width, self.config.embedding_dim))

    def prepare(self, model: _DoodleModel, data: TrainingSet) -> None:
        """Sorts the images by class, counts steps, and initialises the embedding layers."""
        config = self.config
        self.sketches, self.photos = (ImagesByClass.from_training_set(data, domain) for domain in Domain)
        if config.embedding_init == "principal":
            init_embedding_heads(model.encoder, data)
        schedule = BatchSchedule.from_training_set(
            data, config.batch.sketches, config.batch.photos, config.seed
        )
        self.steps, self.steps_per_epoch = total_steps(self, schedule), schedule.steps_per_epoch

    def loss(self, model: _DoodleModel, batch: Batch) -> Mapping[str, Tensor]:
        config = self.config
        anchors = self._anchor_batch(batch)
        label = anchors.label
        photos = self._sample_photos(model, label)
        image, domain = torch.cat([anchors.image, photos.image]), torch.cat([anchors.domain, photos.domain])
        embeddings = model.encoder(self.augment(image, domain), domain)
        sketch, positive, negative = embeddings.chunk(3)
        triplets = self._mine_triplets(sketch, positive, embeddings[len(label) :], label, photos.label)
        terms = {"triplet": config.triplet * triplet_loss(*triplets, config.margin, config.distance)}
        if model.class_meanings is not None:
            reversed_negative = reverse_gradient(negative, config.gradient_reversal)
            predicted = model.semantic_head(torch.cat([sketch, positive, reversed_negative]))
            meaning = model.class_meanings[label].repeat(3, 1)
            terms["semantic"] = 3 * config.semantic * semantic_reconstruction(predicted, meaning)
        strength = linear_ramp(self.ramp_position, config.ramp_start, config.ramp_end)
        adversarial = domain_adversarial_loss(model.discriminator, embeddings, domain, strength)
        terms["domain"] = config.domain * adversarial
        return terms

    @property
    def ramp_position(self) -> float:
        """The progress of the run, in the unit of the ramp."""
        batch = round(self.progress * self.steps) * self.config.optim.accumulate
        if self.config.ramp_unit == "batch":
            return float(batch % self.steps_per_epoch)
        return batch / self.steps_per_epoch

    def _anchor_batch(self, batch: Batch) -> Batch:
        """The sketches of a batch; labelled ones replace those without a label."""
        labelled = (batch.domain == Domain.SKETCH) & (batch.label >= 0)
        missing = int((batch.domain == Domain.SKETCH).sum() - labelled.sum())
        anchors = batch.select_images(labelled)
        if not missing:
            return anchors
        return anchors.append_batch(self.sketches.sample_any_images(missing).to(batch.image.device))

    def _sample_photos(self, model: _DoodleModel, label: Tensor) -> Batch:
        """A positive for each anchor, then a negative for each."""
        negative_class = torch.multinomial(model.negative_probabilities[label] + 1e-12, 1)[:, 0]
        return self.photos.sample_images(torch.cat([label, negative_class])).to(label.device)

    def _mine_triplets(
        self, sketch: Tensor, positive: Tensor, photos: Tensor, label: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors, positives and negatives; without the anchors for which no photo of another class exists."""
        negative = photos[len(label) :]
        allowed = label[:, None] != classes[None]
        if self.config.mining == "random":
            usable = allowed[torch.arange(len(label)), len(label) + torch.arange(len(label))]
            return sketch[usable], positive[usable], negative[usable]
        distance = self.config.distance
        to_positive = pairwise_distances(sketch.detach(), positive.detach(), distance).diagonal()
        index = mine_negatives(sketch, photos, to_positive, allowed, self.config.mining, distance)
        return sketch[index >= 0], positive[index >= 0], photos[index[index >= 0]]


@torch.no_grad()
def init_embedding_heads(encoder: Encoder, data: TrainingSet) -> None:
    """Sets the embedding layer of an encoder, or of each tower, to the principal axes of its input features.

    With an embedding layer for each domain, the domain's mean is subtracted.
    """
    towers = (encoder.sketch, encoder.photo) if isinstance(encoder, TwoTowerEncoder) else (encoder,)
    inner, heads = zip(*(_split_embedding_head(tower) for tower in towers), strict=True)
    features = FrozenFeatures.from_training_set(
        inner[0] if len(inner) == 1 else TwoTowerEncoder(*inner), data
    )
    axes, means = principal_axes(features.vectors, features.domain)
    if len(heads) == 1:
        means = features.vectors.mean(0, keepdim=True)
    for head, mean in zip(heads, means, strict=True):
        axes = axes[: head.out_features]
        head.weight.zero_()[: len(axes)] = axes.to(head.weight)
        head.bias.copy_(-head.weight @ mean.to(head.weight))


def _split_embedding_head(tower: Encoder) -> tuple[Encoder, nn.Linear]:
    """A tower without its embedding layer, and the layer."""
    if isinstance(tower, EdgeAugmentedEncoder):
        inner, head = _split_embedding_head(tower.encoder)
        return EdgeAugmentedEncoder(inner), head
    assert isinstance(tower, ProjectedEncoder)
    return tower.encoder, tower.linear
