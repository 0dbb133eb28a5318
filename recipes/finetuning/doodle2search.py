"""Doodle2Search: a sketch lies nearer to photos of its class than to others, and knows what its class means.

S. Dey, P. Riba, A. Dutta, J. Lladós, Y.-Z. Song: Doodle to Search: Practical Zero-Shot Sketch-based Image Retrieval,
CVPR 2019.

Every sketch of a batch is an anchor y; a photo of its class (positive) and one of another class (negative) are drawn
for it, the other class by how similar its meaning is: in proportion to exp(−‖v_y − v_n‖² / spread).

Terms
    triplet    max(0, d(sketch, positive) − d(sketch, negative) + margin), Euclidean as published.
    semantic   ½(1 − cos) between the word vector of y and what a small network makes of the sketch, of the positive,
               and of the negative through a reversed gradient: what isn't y must not tell of y.
    domain     cross-entropy of a discriminator that tells sketches from photos, through a reversed gradient whose
               strength grows from 0 at `ramp_start` to 1 at `ramp_end`, so that the two become alike.

Each domain has its own tower (`encoder.towers=separate`), with spatial attention (`activation_maps`) and a linear code.

Departures: any encoder takes VGG16-BN's place, and AdamW that of SGD, the code starts on the principal axes of what
the encoder makes of the training images, each domain's mean off, and the attention with every place alike, so that
training begins with what the encoder knows; `--preset doodle2search-published` brings VGG16-BN, SGD and the code's
random start back. The paper's ramp runs in epochs, its released code feeds it the batch's number within the epoch
(`ramp_unit=batch`), so that every epoch begins without the domain term. Without `semantics` the semantic term is
absent and all classes serve as negatives alike. `mining` other than random looks for negatives among all photos of
the batch. Images without a label take no part.

Run    ssl-sbir finetune doodle2search --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/doodle2search
Cost   three images a sketch.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.class_sampling import ImagesByClass
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import BatchSchedule, TrainingSet
from ssl_sbir.encoders import (
    EdgeAugmentedEncoder,
    Encoder,
    ProjectedEncoder,
    SpatialAttentionEncoder,
    TwoTowerEncoder,
)
from ssl_sbir.encoders.domain_heads import principal_axes
from ssl_sbir.fusion.learn_text import FrozenFeatures
from ssl_sbir.objectives.adversarial import domain_adversarial_loss, reverse_gradient
from ssl_sbir.objectives.semantic_losses import (
    UnknownClasses,
    class_vectors,
    negative_weights,
    semantic_reconstruction,
)
from ssl_sbir.objectives.triplet import Distance, Mining, mine_negatives, pairwise_distances, triplet_loss
from ssl_sbir.objectives.weight_ramp import linear_ramp
from ssl_sbir.training.loop import total_steps
from ssl_sbir.training.recipe import (
    BatchConfig,
    EncoderConfig,
    OptimConfig,
    Recipe,
    RecipeConfig,
    register_recipe,
)


class Doodle2SearchConfig(RecipeConfig):
    """Settings of Doodle2Search."""

    embedding_dim: PositiveInt = Field(256, description="width of the embedding; published: 256")
    embedding_init: Literal["principal", "random"] = Field(
        "principal",
        description="the code's start: the principal axes of the training images' features; published: random",
    )
    attention: bool = Field(True, description="weight each map by where it is worth looking; published: true")
    margin: NonNegativeFloat = Field(1.0, description="of the triplets; published: 1")
    distance: Distance = Field(
        "euclidean", description="in which triplets are measured; published: euclidean"
    )
    mining: Mining = Field("random", description="how negatives are chosen; published: random, by `spread`")
    semantics: str | None = Field(
        "glove", description="source of word vectors or of similarity; none: no semantic term"
    )
    unknown_classes: UnknownClasses = Field(
        "refuse", description="a class that semantics doesn't know: refuse it, or no meaning"
    )
    negative_temperature: PositiveFloat | None = Field(
        0.1, description="small: negatives come from the closest classes; none: from all alike; published: .1"
    )
    triplet: NonNegativeFloat = Field(1.0, description="weight of the triplets; published: 1")
    semantic: NonNegativeFloat = Field(1.0, description="weight of the semantic term; published: 1")
    gradient_reversal: NonNegativeFloat = Field(
        0.5, description="of the negative's semantic gradient; published: .5"
    )
    domain: NonNegativeFloat = Field(1.0, description="weight of the domain term; published: 1")
    ramp_start: NonNegativeFloat = Field(1.0, description="where the domain term begins; published: 5")
    ramp_end: PositiveFloat = Field(5.0, description="where it has its whole strength; published: 25")
    ramp_unit: Literal["epoch", "batch"] = Field(
        "epoch", description="what the ramp counts: epochs (paper) or batches within one (released code)"
    )
    encoder: EncoderConfig = Field(EncoderConfig(towers="separate"), description="")
    batch: BatchConfig = Field(BatchConfig(sketches=16, photos=0), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=5), description="")


class _DoodleModel(nn.Module):
    class_meanings: Tensor | None
    negative_probabilities: Tensor

    def __init__(
        self, encoder: Encoder, class_meanings: Tensor | None, negative_probabilities: Tensor
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("meaning", class_meanings)
        self.register_buffer("negatives", negative_probabilities)
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
class Doodle2Search(Recipe[Doodle2SearchConfig]):
    """A sketch lies nearer to photos of its class than to others, and knows what its class means."""

    Config = Doodle2SearchConfig
    stage = "finetuning"
    summary = "triplets of a sketch and two photos, word vectors, domains made alike"
    paper = "Dey 2019"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        config, meaning = self.config, None
        alike = 1 - torch.eye(len(classes))
        negatives = alike / alike.sum(1, keepdim=True).clamp(min=1)
        if config.semantics is not None:
            meaning = class_vectors(config.semantics, classes, config.unknown_classes)
            negatives = (
                negative_weights(meaning, config.negative_temperature)
                if config.negative_temperature
                else negatives
            )
        return _DoodleModel(self.build_tower(encoder), meaning, negatives)

    def build_tower(self, encoder: Encoder) -> Encoder:
        """The encoder, or each tower of it, with attention and a code on it."""
        if isinstance(encoder, TwoTowerEncoder):
            return TwoTowerEncoder(self.build_tower(encoder.sketch), self.build_tower(encoder.photo))
        seen = SpatialAttentionEncoder(encoder) if self.config.attention else encoder
        return ProjectedEncoder(seen, nn.Linear(encoder.width, self.config.embedding_dim))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Sorts the images by class, counts steps, and starts the code where the images' features vary most."""
        config = self.config
        self.sketches, self.photos = (ImagesByClass.from_training_set(data, domain) for domain in Domain)
        if config.embedding_init == "principal":
            init_embedding_heads(model.encoder, data)
        schedule = BatchSchedule.from_training_set(
            data, config.batch.sketches, config.batch.photos, config.seed
        )
        self.steps, self.steps_per_epoch = total_steps(self, schedule), schedule.steps_per_epoch

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        config = self.config
        anchors = self._anchor_batch(batch)
        label = anchors.label
        drawn = self._sample_photos(model, label)
        image, domain = torch.cat([anchors.image, drawn.image]), torch.cat([anchors.domain, drawn.domain])
        code = model.encoder(self.augment(image, domain), domain)
        sketch, positive, negative = code.chunk(3)
        chosen = self._mine_triplets(sketch, positive, code[len(label) :], label, drawn.label)
        terms = {"triplet": config.triplet * triplet_loss(*chosen, config.margin, config.distance)}
        if model.meaning is not None:
            told = model.tells(
                torch.cat([sketch, positive, reverse_gradient(negative, config.gradient_reversal)])
            )
            meaning = model.meaning[label].repeat(3, 1)
            terms["semantic"] = 3 * config.semantic * semantic_reconstruction(told, meaning)
        strength = linear_ramp(self.ramp_position, config.ramp_start, config.ramp_end)
        terms["domain"] = config.domain * domain_adversarial_loss(model.discriminator, code, domain, strength)
        return terms

    @property
    def ramp_position(self) -> float:
        """How far the run has come, in the unit of the ramp."""
        step = round(self.progress * self.steps) * self.config.optim.accumulate
        whole = step / self.steps_per_epoch
        return whole if self.config.ramp_unit == "epoch" else float(step % self.steps_per_epoch)

    def _anchor_batch(self, batch: Batch) -> Batch:
        """The sketches of a batch; labelled ones stand in for those that have no label."""
        known = (batch.domain == Domain.SKETCH) & (batch.label >= 0)
        missing = int((batch.domain == Domain.SKETCH).sum() - known.sum())
        if not missing:
            return batch.select_images(known)
        return batch.select_images(known).append_batch(
            self.sketches.sample_any_images(missing).to(batch.image.device)
        )

    def _sample_photos(self, model: Any, label: Tensor) -> Batch:
        """A positive for each anchor, then a negative for each."""
        other = torch.multinomial(model.negatives[label] + 1e-12, 1)[:, 0]
        return self.photos.sample_images(torch.cat([label, other])).to(label.device)

    def _mine_triplets(
        self, sketch: Tensor, positive: Tensor, photos: Tensor, label: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors, positives and negatives; an anchor that no photo of another class is there for is left out."""
        negative = photos[len(label) :]
        allowed = label[:, None] != classes[None]
        if self.config.mining == "random":
            use = allowed[torch.arange(len(label)), len(label) + torch.arange(len(label))]
            return sketch[use], positive[use], negative[use]
        near = pairwise_distances(sketch.detach(), positive.detach(), self.config.distance).diagonal()
        place = mine_negatives(sketch, photos, near, allowed, self.config.mining, self.config.distance)
        return sketch[place >= 0], positive[place >= 0], photos[place[place >= 0]]


@torch.no_grad()
def init_embedding_heads(encoder: Encoder, data: TrainingSet) -> None:
    """Sets the code of an encoder, or of each tower, to the principal axes of the features that it is given.

    Where each domain has a code of its own, its mean is taken off.
    """
    towers = (encoder.sketch, encoder.photo) if isinstance(encoder, TwoTowerEncoder) else (encoder,)
    parts = [_split_embedding_head(it) for it in towers]
    inner = TwoTowerEncoder(*(it for it, _ in parts)) if isinstance(encoder, TwoTowerEncoder) else parts[0][0]
    features = FrozenFeatures.from_training_set(inner, data)
    axes, means = principal_axes(features.vectors, features.domain)
    if not isinstance(encoder, TwoTowerEncoder):
        means = features.vectors.mean(0, keepdim=True)
    for (_, code), mean in zip(parts, means, strict=True):
        axes = axes[: code.out_features]
        code.weight.zero_()[: len(axes)] = axes.to(code.weight)
        code.bias.copy_(-code.weight @ mean.to(code.weight))


def _split_embedding_head(tower: Encoder) -> tuple[Encoder, nn.Linear]:
    """What a tower is without its code, and the code."""
    if isinstance(tower, EdgeAugmentedEncoder):
        inner, code = _split_embedding_head(tower.encoder)
        return EdgeAugmentedEncoder(inner), code
    assert isinstance(tower, ProjectedEncoder)
    return tower.encoder, tower.linear
