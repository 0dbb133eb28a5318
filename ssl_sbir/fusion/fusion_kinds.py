"""Kinds of fusion: how the vectors of a drawing and of a sentence become that of one query."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import Encoder
from ssl_sbir.registry import Registry

CALIBRATION_STEPS = 21  # shares of the calibration table: 0, .05, …, 1
Vectors = Float[Tensor, "b d"]
FusedVectors = tuple[Vectors, Vectors, Vectors]


class Fusion(nn.Module):
    """A weighted sum of both unit vectors, and the table that says which weight a wanted share takes.

    Adding scores is adding vectors: a·cos(sketch, photo) + (1 − a)·cos(text, photo) is the product of the photo with
    a·sketch + (1 − a)·text. What a side decides depends on how far its scores spread, which differs from query to query,
    so a weight w counts in units of the scores' standard deviation over classes: a / (1 − a) = w·σ_text / (1 − w)·σ_sketch.

    Attributes:
        kind: its name.
        settings: what rebuilds it, JSON-able.
        needs_images: whether it must see the drawing itself.
        spread: [width, width] a factor of the covariance of the photos' classes, so that σ = ‖query · spread‖; the
            identity, by which all spread alike, until it is known.
        mixing: [21] the weight w at which a drawing keeps a share of 0, .05, …, 1 of the top ten against a sentence
            that contradicts it.
        share: the drawing's share that served best on held-out seen classes.
    """

    kind = "late"
    needs_images = False
    spread: Tensor
    mixing: Tensor
    share: Tensor

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__()
        self.width, self.settings = width, settings
        self.register_buffer("spread", torch.eye(width))
        self.register_buffer("mixing", torch.linspace(0, 1, CALIBRATION_STEPS))
        self.register_buffer("share", torch.tensor(0.5))

    def weight_for_share(self, share: float) -> float:
        """The weight w of the drawing at which it keeps that share."""
        return float(np.interp(share, np.linspace(0, 1, CALIBRATION_STEPS), self.mixing.cpu().numpy()))

    def encode_sketches(
        self, encoder: Encoder, image: Float[Tensor, "b 3 h w"], words: Float[Tensor, "b words"] | None
    ) -> Vectors:
        """Features of drawings, beside texts if there are any."""
        del words
        return encoder(image, torch.full((len(image),), int(Domain.SKETCH), device=image.device))

    def sketch_weight(self, sketch: Vectors, text: Vectors, weight: float) -> Float[Tensor, "b 1"]:
        """The weight a of each drawing in the sum where w is that of all."""
        drawn, told = weight * self._score_spread(text), (1 - weight) * self._score_spread(sketch)
        return drawn / (drawn + told)

    def _score_spread(self, query: Vectors) -> Float[Tensor, "b 1"]:
        """How far a query's scores spread over classes of photos."""
        return (query @ self.spread).norm(dim=1, keepdim=True).clamp(min=1e-6)

    def forward(self, sketch: Vectors, text: Float[Tensor, "b told"], share: float) -> FusedVectors:
        """Unit query vectors, and the parts of sketch and text that add up to them.

        Args:
            sketch: unit vectors.
            text: unit vectors, in the photos' space unless the kind says otherwise.
            share: of the drawing, between 0 and 1.
        """
        return self.fuse_at_weight(sketch, text, self.weight_for_share(share))

    def fuse_at_weight(self, sketch: Vectors, text: Float[Tensor, "b told"], weight: float) -> FusedVectors:
        """The same where the drawing's weight itself is given."""
        each = self.sketch_weight(sketch, text, weight)
        drawn, told = each * sketch, (1 - each) * text
        length = (drawn + told).norm(dim=1, keepdim=True).clamp(min=1e-6)
        return (drawn + told) / length, drawn / length, told / length

    def sketch_alone(self, sketch: Vectors) -> Vectors:
        """The query of a drawing without a text."""
        return sketch

    def text_alone(self, text: Float[Tensor, "b told"]) -> Vectors:
        """The query of a text without a drawing."""
        return text


fusion_registry: Registry[Callable[..., Fusion]] = Registry("fusion", "ssl-sbir recipes show multimodal")


@fusion_registry.register("late")
class LateFusion(Fusion):
    """Late fusion: one calibrated weight for all queries."""


@fusion_registry.register("gate")
class GatedFusion(Fusion):
    """A gate: a small network reads both vectors and moves the weight, in log-odds, from query to query.

    It starts as late fusion. In log-odds, so that a weight the user sets still shifts every query's.
    """

    kind = "gate"

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        last = nn.Linear(64, 1)
        self.reads = nn.Sequential(nn.Linear(3 * width, 64), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def sketch_weight(self, sketch: Vectors, text: Vectors, weight: float) -> Float[Tensor, "b 1"]:
        """The weight of each drawing: sigmoid of late fusion's log-odds and what the gate adds."""
        odds = torch.logit(super().sketch_weight(sketch, text, weight), eps=1e-4)
        both = torch.cat([sketch, text, sketch * text * self.width**0.5], 1)
        return torch.sigmoid(odds + self.reads(both))


@fusion_registry.register("joint")
class JointFusion(Fusion):
    """A joint embedding: a network of both vectors, either of which may be missing, adds to their weighted sum.

    Trained with modality dropout. It starts as late fusion. Parts are Shapley values: the mean of what a side adds when
    it comes first and when it comes last.
    """

    kind = "joint"

    def __init__(self, width: int, hidden: int = 512) -> None:
        super().__init__(width, hidden=hidden)
        last = nn.Linear(hidden, width)
        self.adds = nn.Sequential(nn.Linear(2 * width, hidden), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def fuse_at_weight(self, sketch: Vectors, text: Vectors, weight: float) -> FusedVectors:
        """Unit query vectors and the Shapley parts of sketch and text."""
        each = self.sketch_weight(sketch, text, weight)
        query = self._joint_embedding(each * sketch, (1 - each) * text)
        drawn, told = self.sketch_alone(sketch), self.text_alone(text)
        return query, (drawn + query - told) / 2, (told + query - drawn) / 2

    def sketch_alone(self, sketch: Vectors) -> Vectors:
        """The joint embedding of a drawing whose text is missing."""
        return self._joint_embedding(sketch, torch.zeros_like(sketch))

    def text_alone(self, text: Vectors) -> Vectors:
        """The joint embedding of a text whose drawing is missing."""
        return self._joint_embedding(torch.zeros_like(text), text)

    def _joint_embedding(self, sketch: Vectors, text: Vectors) -> Vectors:
        scale = self.width**0.5  # unit vectors have tiny entries
        added = self.adds(torch.cat([sketch, text], 1) * scale) / scale
        return F.normalize(sketch + text + added, dim=1)
