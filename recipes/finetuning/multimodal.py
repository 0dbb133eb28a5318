"""Multimodal: a drawing and a sentence ask together, for photos that were embedded without either.

Ours; its parts are those of Song et al., the Text/Sketch Input Dilemma, BMVC 2017 (quadruplets), and of Huang et al.,
SEJE (modulation; either side may be missing).

The network stays as it was; two linear heads on it, one a domain, are learnt on features that are computed once. So a
run takes seconds to minutes, and sees no augmented views. To train the network too, do that first with another recipe
and start `--from` that run.

Terms
    sketch       a drawing's class against all photos (cross-entropy).
    query        the same for queries of a drawing with a text of its class; a share `dropout` of them lacks a side.
    quadruplet   drawing, text, and both lie nearer to a photo of the class than to the nearest photo of another.

Text → photos is a ridge regression from the frozen text encoder's vectors to the class means of the photos (to a photo
itself, where texts.csv has its caption), solved anew each epoch. Its texts are names, templates, ConceptNet's phrases
(`phrases=conceptnet:FILE`) and captions of seen classes. Fusion never learns from a text's own class: it is shown what
the regression says when that class is left out, as it will be for unseen words.

Kinds of `fusion`: late (one calibrated weight), gate (a network moves the weight), modulation (text scales and shifts
the drawing's features at each stage; the drawing passes the network, so it is some 20 × slower), joint (a network of
both, trained with modality dropout). `ssl_sbir/fusion` has each.

The weight is calibrated at the end on seen classes that were held out of the loss (`calibration`): w is the share of
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

from ssl_sbir.data.by_class import ImagesByClass
from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import DomainHeads, Encoder, load_text_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.fusion import TextTower, fusions
from ssl_sbir.fusion.calibration import class_spread
from ssl_sbir.fusion.learning import Features, calibrated, held_out, text_map
from ssl_sbir.fusion.modulation import channels_of
from ssl_sbir.fusion.texts import Texts
from ssl_sbir.objectives.multimodal import quadruplet, to_photos
from ssl_sbir.objectives.triplet import mined_negatives
from ssl_sbir.recipe import BatchConfig, OptimConfig, Recipe, RecipeConfig, register


class MultimodalConfig(RecipeConfig):
    """Settings of multimodal."""

    text: str = Field("minilm", description="text encoder: minilm, glove, hf:NAME-or-FOLDER, vectors:FILE")
    fusion: Literal["late", "gate", "modulation", "joint"] = Field(
        "late", description="how drawing and text become one query"
    )
    phrases: str | None = Field(None, description="conceptnet:FILE, what is said of the seen classes")
    captions: bool = Field(True, description="learn from the photos' own texts, where there are any")
    code: PositiveInt = Field(512, description="width of the embedding; no wider than the encoder's")
    ridge: PositiveFloat = Field(1.0, description="penalty of the text map, for a hundred classes")
    sketch: NonNegativeFloat = Field(1.0, description="weight of the drawings' term")
    query: NonNegativeFloat = Field(1.0, description="weight of the fused queries' term")
    quadruplet: NonNegativeFloat = Field(1.0, description="weight of the quadruplets")
    margin: NonNegativeFloat = Field(0.2, description="of the quadruplets, in cosine")
    temperature: PositiveFloat = Field(0.1, description="divides the cosines")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of queries that lack one side in training")
    calibration: float = Field(0.2, gt=0, lt=1, description="share of the seen classes that set the weight")
    batch: BatchConfig = Field(BatchConfig(sketches=64, photos=0), description="")
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=1e-3), description="")


class _Multimodal(nn.Module):
    left_out: Tensor

    def __init__(self, encoder: DomainHeads, tower: TextTower) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower


@register("multimodal")
class Multimodal(Recipe[MultimodalConfig]):
    """A drawing and a sentence ask together."""

    Config = MultimodalConfig
    stage = "finetuning"
    summary = "a drawing and a sentence ask together; photos need no text"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        if len(classes) < 4:
            raise ConfigError(f"{len(classes)} seen classes", "multimodal needs 4: two learn, two calibrate.")
        headed = DomainHeads(encoder.requires_grad_(False), min(self.config.code, encoder.width))
        words = load_text_encoder(self.config.text)
        extra: dict[str, Any] = {}
        if self.config.optim.ema:
            raise ConfigError(
                "optim.ema: multimodal maps texts to what it trains, not to an average", "Leave it out."
            )
        if self.config.fusion == "modulation":
            extra = {"words": words.width, "channels": channels_of(encoder)}
        head = nn.Linear(words.width, headed.width).requires_grad_(False)
        fusion = fusions.get(self.config.fusion)(headed.width, **extra)
        return _Multimodal(headed, TextTower(words, headed, head, fusion))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Computes all features once, puts the heads on their principal axes, and reads all texts."""
        for domain in Domain:
            ImagesByClass.of(data, domain)  # refuses a class without labelled images
        device = model.encoder.weight.device
        self.features = Features.of(model.encoder.encoder, data).to(device)
        known = self.features.label >= 0
        model.encoder.centre(self.features.inner[known], self.features.domain[known])
        self.texts = Texts.of(data, self.config.phrases, captions=self.config.captions)
        self.words = model.tower.encoder(self.texts.texts).to(device)
        self.learns = ~held_out(len(data.classes), self.config.calibration, self.config.seed).to(device)
        model.register_buffer("left_out", torch.zeros(len(self.words), model.encoder.width, device=device))
        self._map_texts(model)

    def before_epoch(self, model: Any, data: TrainingSet, epoch: int) -> None:
        """Solves the text map, and how far classes lie apart, for where the photos are now."""
        del data, epoch
        self._map_texts(model)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        config = self.config
        mine = (batch.domain == Domain.SKETCH) & (batch.label >= 0) & self.learns[batch.label]
        batch = batch.take(mine)
        place = self.texts.drawn(batch.label).to(mine.device)
        text = F.normalize(model.left_out[place], dim=1)
        sketch = self._drawn(model, batch, self.words[place])
        photos, classes = self._photos(model)
        query, label = self._queries(model, sketch, text, batch.label)
        fused = model.tower.fusion(sketch, text, 0.5)[0]
        near = 1 - sketch.detach() @ photos.T
        other = batch.label[:, None] != classes[None]
        positive = near.masked_fill(other, torch.inf).argmin(1)
        negative = mined_negatives(fused, photos, near.amin(1), other, "hard", "cosine")
        return {
            "sketch": config.sketch * to_photos(sketch, batch.label, photos, classes, config.temperature),
            "query": config.query * to_photos(query, label, photos, classes, config.temperature),
            "quadruplet": config.quadruplet
            * quadruplet(sketch, text, fused, photos[positive], photos[negative], config.margin),
        }

    def after_step(self, model: Any, progress: float) -> None:
        """At the end: the text map for the final photos, and the weight."""
        if progress >= 1:
            self._map_texts(model)
            calibrated(model.tower, self.features, self.texts, model.left_out, ~self.learns, self.config.seed)

    def _map_texts(self, model: Any) -> None:
        found = text_map(model.encoder, self.features, self.texts, self.words, self.config.ridge)
        model.tower.head.load_state_dict(found.whole.state_dict())
        model.left_out.copy_(found.left_out)
        with torch.no_grad():
            model.tower.fusion.spread.copy_(class_spread(*self._photos(model)))

    def _photos(self, model: Any) -> tuple[Tensor, Tensor]:
        """Unit vectors and classes of all photos that the loss may see."""
        features = self.features
        use = (features.domain == Domain.PHOTO) & (features.label >= 0) & self.learns[features.label]
        code = model.encoder.headed(features.inner[use], features.domain[use])
        return F.normalize(code, dim=1), features.label[use]

    def _drawn(self, model: Any, batch: Batch, words: Tensor) -> Tensor:
        """Unit vectors of drawings, beside their texts where fusion reads both."""
        if model.tower.needs_images:
            model.encoder.encoder.eval()  # its norms keep their statistics
            return F.normalize(model.tower.fusion.seen(model.encoder, batch.image, words), dim=1)
        inner = self.features.inner[self.features.place[batch.row]]
        return F.normalize(model.encoder.headed(inner, batch.domain), dim=1)

    def _queries(self, model: Any, sketch: Tensor, text: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Queries of both sides at a random weight, and of one side alone; with their classes."""
        fusion, draw = model.tower.fusion, torch.rand(len(sketch), device=sketch.device)
        drawing, told = draw < self.config.dropout / 2, draw > 1 - self.config.dropout / 2
        both = ~(drawing | told)
        share = float(torch.rand(()))
        parts = [
            fusion.at(sketch[both], text[both], share)[0],
            fusion.sketch_alone(sketch[drawing]),
            fusion.text_alone(text[told]),
        ]
        return torch.cat(parts), torch.cat([label[both], label[drawing], label[told]])
