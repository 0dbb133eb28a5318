"""Prototype 2, a counter-example: drawing and photo, each with the text of its class, one layer, triplets.

The second of the five prototypes this project grew from. A sentence encoder encodes the class name; on each side image
features and that text are concatenated and pass a fully connected layer; triplets are the only loss. It reported
mAP@all .923 to .942 on Sketchy, where the best systems of its time reached .55: the label decides, not the drawing. A
cow with the text "giraffe" finds giraffes, and a user's gallery has no labels.

It is included to be detected: `evaluate` passes it the gallery's labels and reports so (label leak, text dominance).
Don't build a search on it.

Terms
    triplet    max(0, d(drawing with its text, photo⁺ with its text) − d(…, photo⁻ with its text) + margin).

Departures: the packaged sentence encoder replaces BERT; the network is frozen and its features are computed once, so
only the two layers are trained.

Run    ssl-sbir finetune prototype2 --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/prototype2
Cost   one pass of the network over all images, then a few hundred steps per second.
"""

from collections.abc import Mapping

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.class_sampling import ImagesByClass
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import Encoder, load_text_encoder
from ssl_sbir.encoders.frozen_features import FrozenFeatures
from ssl_sbir.fusion import LabelTextTower
from ssl_sbir.fusion.training_texts import readable_name
from ssl_sbir.objectives.triplet import triplet_loss
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.settings import BatchConfig, OptimConfig, RecipeConfig

LabelledFeatures = tuple[Tensor, Tensor]


class Prototype2Config(RecipeConfig):
    """Settings of prototype 2."""

    text_encoder: str = Field("minilm", description="text encoder of the class names")
    margin: NonNegativeFloat = Field(0.3, description="margin of the triplets, in cosine")
    batch: BatchConfig = Field(BatchConfig(sketches=64, photos=0), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=1e-3), description="")


class LabelTowerModel(nn.Module):
    """An encoder that stays as it was, and the text side whose two layers are trained."""

    def __init__(self, encoder: Encoder, tower: LabelTextTower) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower


@register_recipe("prototype2")
class Prototype2(Recipe[Prototype2Config, LabelTowerModel]):
    """Drawing and photo, each with the text of its class."""

    Config = Prototype2Config
    stage = "finetuning"
    summary = "counter-example: the gallery's labels are used as text, and decide"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> LabelTowerModel:
        text_encoder = load_text_encoder(self.config.text_encoder)
        tower = LabelTextTower(text_encoder, encoder.requires_grad_(False), encoder.width)
        self.name_vectors = text_encoder([readable_name(name) for name in classes])
        return LabelTowerModel(encoder, tower)

    def text_side(self, model: LabelTowerModel) -> LabelTextTower:
        """The tower that was trained."""
        return model.tower

    def prepare(self, model: LabelTowerModel, data: TrainingSet) -> None:
        """Computes all features once."""
        for domain in Domain:
            # Refuses a class without labelled images, and a single class.
            ImagesByClass.from_training_set(data, domain)
        device = model.tower.fusion.query.weight.device
        self.name_vectors = self.name_vectors.to(device)
        self.features = FrozenFeatures.from_training_set(model.encoder, data).to(device)
        labelled = (self.features.domain == Domain.PHOTO) & (self.features.label >= 0)
        self.photos, self.classes = self.features.vectors[labelled], self.features.label[labelled]

    def loss(self, model: LabelTowerModel, batch: Batch) -> Mapping[str, Tensor]:
        sketches = batch.select_images((batch.domain == Domain.SKETCH) & (batch.label >= 0))
        features = self.features.vectors[self.features.row_to_index[sketches.row]]
        same_class = sketches.label[:, None] == self.classes[None]
        positive = torch.multinomial(same_class.float(), 1)[:, 0]
        negative = torch.multinomial((~same_class).float(), 1)[:, 0]
        return self.loss_terms(
            model.tower,
            (features, sketches.label),
            *((self.photos[index], self.classes[index]) for index in (positive, negative)),
        )

    def loss_terms(
        self,
        tower: LabelTextTower,
        sketch: LabelledFeatures,
        positive: LabelledFeatures,
        negative: LabelledFeatures,
    ) -> dict[str, Tensor]:
        """The loss terms of drawings and photos, given as features and classes."""
        embeddings = (
            self.embed_query(tower, *sketch),
            self.embed_photo(tower, *positive),
            self.embed_photo(tower, *negative),
        )
        return {"triplet": triplet_loss(*embeddings, self.config.margin, "cosine")}

    def embed_query(self, tower: LabelTextTower, features: Tensor, label: Tensor) -> Tensor:
        """Unit vectors of drawings with the names of some classes."""
        return tower.fusion(F.normalize(features, dim=1), self.name_vectors[label], 0.5)[0]

    def embed_photo(self, tower: LabelTextTower, features: Tensor, label: Tensor) -> Tensor:
        """Unit vectors of photos with the names of some classes."""
        return tower.embed_photos(features, self.name_vectors[label])
