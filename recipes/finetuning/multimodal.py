"""Multimodal: a drawing and a sentence as one query, for photos that were embedded without either.

Ours; its parts are those of Song et al., the Text/Sketch Input Dilemma, BMVC 2017 (quadruplets), and of Huang et al.,
SEJE (modulation; either side may be missing).

The network is frozen; two linear heads on it, one per domain, are trained on features that are computed once. So a
run takes seconds to minutes and uses no augmented views. To train the network too, do that first with another recipe
and start `--from` that run.

Terms
    sketch       a drawing's class against all photos (cross-entropy).
    query        the same for queries of a drawing with a text of its class; a fraction `modality_dropout` of them
                 lacks one side.
    quadruplet   drawing, text, and both are nearer to a photo of the class than to the nearest photo of another.

The map from texts to photos is a ridge regression from the frozen text encoder's vectors to the class means of the
photos (to the photo itself, where texts.csv has its caption), recomputed each epoch. Its texts are names, templates,
ConceptNet's phrases (`phrases=conceptnet:FILE`) and captions of seen classes. The fusion never learns from a text's own
class: its input is the regression's output when that class is left out, as it will be for unseen words.

Kinds of `fusion`: late (one calibrated weight), gate (a network adjusts the weight), modulation (text scales and shifts
the drawing's features at each stage; the drawing passes the network, so it is about 20 × slower), joint (a network of
both, trained with modality dropout). `ssl_sbir/fusion` has each.

The weight is calibrated at the end on seen classes that were held out of the loss (`calibration_fraction`): w is the
share of the top ten that a drawing keeps against a sentence that contradicts it. Each side is scaled by how far its
scores spread over classes, for each query, so that this holds for unseen classes too. A run that starts from one that
was trained on those classes overestimates its drawings on unseen ones.

Run    ssl-sbir finetune multimodal --from runs/sake --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/both
Cost   one pass of the network over all images, then about 20 steps per second; 5 KB of memory per image.
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
from ssl_sbir.encoders.frozen_features import FrozenFeatures
from ssl_sbir.errors import ConfigError
from ssl_sbir.fusion import TextTower, create_fusion
from ssl_sbir.fusion.calibration import class_spread
from ssl_sbir.fusion.learn_text import (
    calibrate_fusion,
    fit_text_map,
    sample_calibration_classes,
)
from ssl_sbir.fusion.modulation import stage_channels
from ssl_sbir.fusion.training_texts import TrainingTexts
from ssl_sbir.objectives.query_losses import photo_class_cross_entropy, quadruplet_loss
from ssl_sbir.objectives.triplet import mine_negatives
from ssl_sbir.training.recipe import Recipe, register_recipe
from ssl_sbir.training.settings import BatchConfig, OptimConfig, RecipeConfig


class MultimodalConfig(RecipeConfig):
    """Settings of multimodal."""

    text_encoder: str = Field(
        "minilm", description="text encoder: minilm, glove, hf:NAME-or-FOLDER, vectors:FILE"
    )
    fusion: Literal["late", "gate", "modulation", "joint"] = Field(
        "late", description="how drawing and text are combined into one query"
    )
    phrases: str | None = Field(None, description="conceptnet:FILE, phrases about the seen classes")
    captions: bool = Field(True, description="learn from the photos' own texts, where there are any")
    embedding_dim: PositiveInt = Field(512, description="width of the embedding; at most the encoder's")
    ridge: PositiveFloat = Field(1.0, description="penalty of the text map, for a hundred classes")
    sketch: NonNegativeFloat = Field(1.0, description="weight of the drawings' term")
    query: NonNegativeFloat = Field(1.0, description="weight of the fused queries' term")
    quadruplet: NonNegativeFloat = Field(1.0, description="weight of the quadruplets")
    margin: NonNegativeFloat = Field(0.2, description="margin of the quadruplets, in cosine")
    temperature: PositiveFloat = Field(0.1, description="divides the cosines")
    modality_dropout: float = Field(
        0.3, ge=0, lt=1, description="fraction of queries that lack one side in training"
    )
    calibration_fraction: float = Field(
        0.2, gt=0, lt=1, description="fraction of the seen classes that calibrate the weight"
    )
    batch: BatchConfig = Field(BatchConfig(sketches=64, photos=0), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=1e-3), description="")


class _MultimodalModel(nn.Module):
    """A frozen encoder with a head for each domain, and the text side.

    Attributes:
        held_out_text: each text in the photos' space, by a map that was fitted without its class.
    """

    held_out_text: Tensor

    def __init__(self, encoder: DomainHeadsEncoder, tower: TextTower) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower


@register_recipe("multimodal")
class Multimodal(Recipe[MultimodalConfig, _MultimodalModel]):
    """A drawing and a sentence as one query."""

    Config = MultimodalConfig
    stage = "finetuning"
    summary = "a drawing and a sentence as one query; photos need no text"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _MultimodalModel:
        if len(classes) < 4:
            raise ConfigError(f"{len(classes)} seen classes", "multimodal needs 4: two learn, two calibrate.")
        if self.config.optim.ema:
            raise ConfigError(
                "optim.ema: multimodal maps texts to the trained weights, not to an average", "Leave it out."
            )
        heads = DomainHeadsEncoder(
            encoder.requires_grad_(False), min(self.config.embedding_dim, encoder.width)
        )
        text_encoder = load_text_encoder(self.config.text_encoder)
        sizes: dict[str, Any] = {}
        if self.config.fusion == "modulation":
            sizes = {"words": text_encoder.width, "channels": stage_channels(encoder)}
        text_head = nn.Linear(text_encoder.width, heads.width).requires_grad_(False)
        fusion = create_fusion(self.config.fusion, heads.width, **sizes)
        return _MultimodalModel(heads, TextTower(text_encoder, heads, text_head, fusion))

    def text_side(self, model: _MultimodalModel) -> TextTower:
        """The tower that was trained."""
        return model.tower

    def prepare(self, model: _MultimodalModel, data: TrainingSet) -> None:
        """Computes all features once, sets the heads to their principal axes, and encodes all texts."""
        for domain in Domain:
            ImagesByClass.from_training_set(data, domain)  # refuses a class without labelled images
        device = model.encoder.weight.device
        self.features = FrozenFeatures.from_training_set(model.encoder.encoder, data).to(device)
        labelled = self.features.label >= 0
        model.encoder.init_principal_axes(self.features.vectors[labelled], self.features.domain[labelled])
        self.texts = TrainingTexts.from_training_set(data, self.config.phrases, captions=self.config.captions)
        self.text_vectors = model.tower.encoder(self.texts.texts).to(device)
        self.learning_classes = ~sample_calibration_classes(
            len(data.classes), self.config.calibration_fraction, self.config.seed
        ).to(device)
        model.register_buffer(
            "held_out_text", torch.zeros(len(self.text_vectors), model.encoder.width, device=device)
        )
        self._fit_text_map(model)

    def before_epoch(self, model: _MultimodalModel, data: TrainingSet, epoch: int) -> None:
        """Recomputes the text map, and the spread of classes, for the photos' current embeddings."""
        del data, epoch
        self._fit_text_map(model)

    def loss(self, model: _MultimodalModel, batch: Batch) -> Mapping[str, Tensor]:
        config = self.config
        learning = (batch.domain == Domain.SKETCH) & (batch.label >= 0) & self.learning_classes[batch.label]
        batch = batch.select_images(learning)
        text_index = self.texts.sample_text_indices(batch.label).to(learning.device)
        text = F.normalize(model.held_out_text[text_index], dim=1)
        sketch = self._sketch_embeddings(model, batch, self.text_vectors[text_index])
        photos, classes = self._photo_embeddings(model)
        query, label = self._sample_queries(model, sketch, text, batch.label)
        fused = model.tower.fusion(sketch, text, 0.5)[0]
        positive, negative = self._mine_photos(sketch, fused, photos, batch.label[:, None] != classes[None])
        sketch_loss = photo_class_cross_entropy(sketch, batch.label, photos, classes, config.temperature)
        query_loss = photo_class_cross_entropy(query, label, photos, classes, config.temperature)
        quadruplets = quadruplet_loss(sketch, text, fused, photos[positive], photos[negative], config.margin)
        return {
            "sketch": config.sketch * sketch_loss,
            "query": config.query * query_loss,
            "quadruplet": config.quadruplet * quadruplets,
        }

    def _mine_photos(
        self, sketch: Tensor, fused: Tensor, photos: Tensor, other_class: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The index of the nearest photo of each drawing's class, and of the nearest of another to each fused query."""
        distance = 1 - sketch.detach() @ photos.T
        positive = distance.masked_fill(other_class, torch.inf).argmin(1)
        negative = mine_negatives(fused, photos, distance.amin(1), other_class, "hard", "cosine")
        return positive, negative

    def after_step(self, model: _MultimodalModel, progress: float) -> None:
        """At the end of the run: the text map for the final photo embeddings, and the calibrated weight."""
        if progress >= 1:
            self._fit_text_map(model)
            calibrate_fusion(
                model.tower,
                self.features,
                self.texts,
                model.held_out_text,
                ~self.learning_classes,
                self.config.seed,
            )

    def _fit_text_map(self, model: _MultimodalModel) -> None:
        fitted = fit_text_map(model.encoder, self.features, self.texts, self.text_vectors, self.config.ridge)
        model.tower.head.load_state_dict(fitted.full_map.state_dict())
        model.held_out_text.copy_(fitted.left_out)
        with torch.no_grad():
            model.tower.fusion.spread.copy_(class_spread(*self._photo_embeddings(model)))

    def _photo_embeddings(self, model: _MultimodalModel) -> tuple[Tensor, Tensor]:
        """Unit vectors and classes of all photos that the loss may use."""
        features = self.features
        learning = (
            (features.domain == Domain.PHOTO) & (features.label >= 0) & self.learning_classes[features.label]
        )
        embeddings = model.encoder.apply_heads(features.vectors[learning], features.domain[learning])
        return F.normalize(embeddings, dim=1), features.label[learning]

    def _sketch_embeddings(self, model: _MultimodalModel, batch: Batch, text_vectors: Tensor) -> Tensor:
        """Unit vectors of drawings, with their texts where the fusion needs both."""
        if model.tower.needs_images:
            model.encoder.encoder.eval()  # its norms keep their statistics
            sketches = model.tower.fusion.encode_sketches(model.encoder, batch.image, text_vectors)
            return F.normalize(sketches, dim=1)
        features = self.features.vectors[self.features.row_to_index[batch.row]]
        return F.normalize(model.encoder.apply_heads(features, batch.domain), dim=1)

    def _sample_queries(
        self, model: _MultimodalModel, sketch: Tensor, text: Tensor, label: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Queries of both sides at a random weight, and of one side alone; with their classes."""
        fusion, uniform = model.tower.fusion, torch.rand(len(sketch), device=sketch.device)
        sketch_only = uniform < self.config.modality_dropout / 2
        text_only = uniform > 1 - self.config.modality_dropout / 2
        both = ~(sketch_only | text_only)
        weight = float(torch.rand(()))
        queries = [
            fusion.fuse_at_weight(sketch[both], text[both], weight)[0],
            fusion.sketch_alone(sketch[sketch_only]),
            fusion.text_alone(text[text_only]),
        ]
        return torch.cat(queries), torch.cat([label[both], label[sketch_only], label[text_only]])
