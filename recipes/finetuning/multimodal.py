"""Multimodal: a drawing and a sentence ask together, for photos that were embedded without either.

Ours; its parts are those of Song et al., the Text/Sketch Input Dilemma, BMVC 2017 (quadruplets), and of Huang et al.,
SEJE (modulation; either side may be missing).

The network stays as it was; two linear heads on it, one a domain, are learnt on features that are computed once. So a
run takes seconds to minutes, and sees no augmented views. To train the network too, do that first with another recipe
and start `--from` that run.

Terms
    sketch       a drawing's class against all photos (cross-entropy).
    query        the same for queries of a drawing with a text of its class; a share `modality_dropout` of them lacks a side.
    quadruplet   drawing, text, and both lie nearer to a photo of the class than to the nearest photo of another.

Text → photos is a ridge regression from the frozen text encoder's vectors to the class means of the photos (to a photo
itself, where texts.csv has its caption), solved anew each epoch. Its texts are names, templates, ConceptNet's phrases
(`phrases=conceptnet:FILE`) and captions of seen classes. Fusion never learns from a text's own class: it is shown what
the regression says when that class is left out, as it will be for unseen words.

Kinds of `fusion`: late (one calibrated weight), gate (a network moves the weight), modulation (text scales and shifts
the drawing's features at each stage; the drawing passes the network, so it is some 20 × slower), joint (a network of
both, trained with modality dropout). `ssl_sbir/fusion` has each.

The weight is calibrated at the end on seen classes that were held out of the loss (`calibration_fraction`): w is the share of
the top ten that a drawing keeps against a sentence that contradicts it. Each side counts by how far its scores spread
over classes, from query to query, so that this holds for unseen classes too. A run that starts from one that was taught
those classes takes its drawings for better than they are on unseen ones.

Run    ssl-sbir finetune multimodal --from runs/sake --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/both
Cost   one pass of the network over all images, then some 20 steps a second; 5 KB of memory an image.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.class_sampling import ImagesByClass
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainHeadsEncoder, Encoder, load_text_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.fusion import TextTower, fusion_registry
from ssl_sbir.fusion.calibration import class_spread
from ssl_sbir.fusion.learn_text import (
    FrozenFeatures,
    calibrate_fusion,
    fit_text_map,
    sample_calibration_classes,
)
from ssl_sbir.fusion.modulation import stage_channels
from ssl_sbir.fusion.training_texts import TrainingTexts
from ssl_sbir.objectives.query_losses import photo_class_cross_entropy, quadruplet_loss
from ssl_sbir.objectives.triplet import mine_negatives
from ssl_sbir.training.recipe import BatchConfig, OptimConfig, Recipe, RecipeConfig, register_recipe


class MultimodalConfig(RecipeConfig):
    """Settings of multimodal."""

    text_encoder: str = Field(
        "minilm", description="text encoder: minilm, glove, hf:NAME-or-FOLDER, vectors:FILE"
    )
    fusion: Literal["late", "gate", "modulation", "joint"] = Field(
        "late", description="how drawing and text become one query"
    )
    phrases: str | None = Field(None, description="conceptnet:FILE, what is said of the seen classes")
    captions: bool = Field(True, description="learn from the photos' own texts, where there are any")
    embedding_dim: PositiveInt = Field(512, description="width of the embedding; no wider than the encoder's")
    ridge: PositiveFloat = Field(1.0, description="penalty of the text map, for a hundred classes")
    sketch: NonNegativeFloat = Field(1.0, description="weight of the drawings' term")
    query: NonNegativeFloat = Field(1.0, description="weight of the fused queries' term")
    quadruplet: NonNegativeFloat = Field(1.0, description="weight of the quadruplets")
    margin: NonNegativeFloat = Field(0.2, description="of the quadruplets, in cosine")
    temperature: PositiveFloat = Field(0.1, description="divides the cosines")
    modality_dropout: float = Field(
        0.3, ge=0, lt=1, description="share of queries that lack one side in training"
    )
    calibration_fraction: float = Field(
        0.2, gt=0, lt=1, description="share of the seen classes that set the weight"
    )
    batch: BatchConfig = Field(BatchConfig(sketches=64, photos=0), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=1e-3), description="")


class _MultimodalModel(nn.Module):
    held_out_text: Tensor

    def __init__(self, encoder: DomainHeadsEncoder, tower: TextTower) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower


@register_recipe("multimodal")
class Multimodal(Recipe[MultimodalConfig]):
    """A drawing and a sentence ask together."""

    Config = MultimodalConfig
    stage = "finetuning"
    summary = "a drawing and a sentence ask together; photos need no text"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        if len(classes) < 4:
            raise ConfigError(f"{len(classes)} seen classes", "multimodal needs 4: two learn, two calibrate.")
        headed = DomainHeadsEncoder(
            encoder.requires_grad_(False), min(self.config.embedding_dim, encoder.width)
        )
        words = load_text_encoder(self.config.text_encoder)
        extra: dict[str, Any] = {}
        if self.config.optim.ema:
            raise ConfigError(
                "optim.ema: multimodal maps texts to what it trains, not to an average", "Leave it out."
            )
        if self.config.fusion == "modulation":
            extra = {"words": words.width, "channels": stage_channels(encoder)}
        head = nn.Linear(words.width, headed.width).requires_grad_(False)
        fusion = fusion_registry.get(self.config.fusion)(headed.width, **extra)
        return _MultimodalModel(headed, TextTower(words, headed, head, fusion))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Computes all features once, puts the heads on their principal axes, and reads all texts."""
        for domain in Domain:
            ImagesByClass.from_training_set(data, domain)  # refuses a class without labelled images
        device = model.encoder.weight.device
        self.features = FrozenFeatures.from_training_set(model.encoder.encoder, data).to(device)
        known = self.features.label >= 0
        model.encoder.centre(self.features.vectors[known], self.features.domain[known])
        self.texts = TrainingTexts.from_training_set(data, self.config.phrases, captions=self.config.captions)
        self.text_vectors = model.tower.encoder(self.texts.texts).to(device)
        self.learning_classes = ~sample_calibration_classes(
            len(data.classes), self.config.calibration_fraction, self.config.seed
        ).to(device)
        model.register_buffer(
            "left_out", torch.zeros(len(self.text_vectors), model.encoder.width, device=device)
        )
        self._map_texts(model)

    def before_epoch(self, model: Any, data: TrainingSet, epoch: int) -> None:
        """Solves the text map, and how far classes lie apart, for where the photos are now."""
        del data, epoch
        self._map_texts(model)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        config = self.config
        mine = (batch.domain == Domain.SKETCH) & (batch.label >= 0) & self.learning_classes[batch.label]
        batch = batch.select_images(mine)
        place = self.texts.sample_text_indices(batch.label).to(mine.device)
        text = F.normalize(model.left_out[place], dim=1)
        sketch = self._sketch_embeddings(model, batch, self.text_vectors[place])
        photos, classes = self._photo_embeddings(model)
        query, label = self._sample_queries(model, sketch, text, batch.label)
        fused = model.tower.fusion(sketch, text, 0.5)[0]
        near = 1 - sketch.detach() @ photos.T
        other = batch.label[:, None] != classes[None]
        positive = near.masked_fill(other, torch.inf).argmin(1)
        negative = mine_negatives(fused, photos, near.amin(1), other, "hard", "cosine")
        return {
            "sketch": config.sketch
            * photo_class_cross_entropy(sketch, batch.label, photos, classes, config.temperature),
            "query": config.query
            * photo_class_cross_entropy(query, label, photos, classes, config.temperature),
            "quadruplet": config.quadruplet
            * quadruplet_loss(sketch, text, fused, photos[positive], photos[negative], config.margin),
        }

    def after_step(self, model: Any, progress: float) -> None:
        """At the end: the text map for the final photos, and the weight."""
        if progress >= 1:
            self._map_texts(model)
            calibrate_fusion(
                model.tower,
                self.features,
                self.texts,
                model.left_out,
                ~self.learning_classes,
                self.config.seed,
            )

    def _map_texts(self, model: Any) -> None:
        found = fit_text_map(model.encoder, self.features, self.texts, self.text_vectors, self.config.ridge)
        model.tower.head.load_state_dict(found.full_map.state_dict())
        model.left_out.copy_(found.left_out)
        with torch.no_grad():
            model.tower.fusion.spread.copy_(class_spread(*self._photo_embeddings(model)))

    def _photo_embeddings(self, model: Any) -> tuple[Tensor, Tensor]:
        """Unit vectors and classes of all photos that the loss may see."""
        features = self.features
        use = (
            (features.domain == Domain.PHOTO) & (features.label >= 0) & self.learning_classes[features.label]
        )
        code = model.encoder.headed(features.vectors[use], features.domain[use])
        return F.normalize(code, dim=1), features.label[use]

    def _sketch_embeddings(self, model: Any, batch: Batch, words: Tensor) -> Tensor:
        """Unit vectors of drawings, beside their texts where fusion reads both."""
        if model.tower.needs_images:
            model.encoder.encoder.eval()  # its norms keep their statistics
            return F.normalize(model.tower.fusion.seen(model.encoder, batch.image, words), dim=1)
        inner = self.features.vectors[self.features.row_to_index[batch.row]]
        return F.normalize(model.encoder.headed(inner, batch.domain), dim=1)

    def _sample_queries(
        self, model: Any, sketch: Tensor, text: Tensor, label: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Queries of both sides at a random weight, and of one side alone; with their classes."""
        fusion, draw = model.tower.fusion, torch.rand(len(sketch), device=sketch.device)
        drawing, told = draw < self.config.modality_dropout / 2, draw > 1 - self.config.modality_dropout / 2
        both = ~(drawing | told)
        share = float(torch.rand(()))
        parts = [
            fusion.at(sketch[both], text[both], share)[0],
            fusion.sketch_alone(sketch[drawing]),
            fusion.text_alone(text[told]),
        ]
        return torch.cat(parts), torch.cat([label[both], label[drawing], label[told]])
