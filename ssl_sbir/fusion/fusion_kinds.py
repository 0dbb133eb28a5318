"""Kinds of fusion: from the vectors of a drawing and of a text to one query vector."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import Encoder

CALIBRATION_STEPS = 21  # shares in the calibration table: 0, .05, …, 1
Vectors = Float[Tensor, "b d"]
FusedVectors = tuple[Vectors, Vectors, Vectors]


class Fusion(nn.Module):
    """A weighted sum of both unit vectors, and the calibration table from a share to its weight.

    Adding scores is adding vectors: a·cos(sketch, photo) + (1 − a)·cos(text, photo) is the product of the photo with
    a·sketch + (1 − a)·text. The influence of a side depends on the spread of its scores, which differs between queries,
    so a weight w is in units of the scores' standard deviation over classes: a / (1 − a) = w·σ_text / (1 − w)·σ_sketch.

    Attributes:
        kind: its name.
        settings: the constructor's arguments, JSON-able.
        needs_images: whether it needs the drawing's pixels.
        spread: [width, width] a factor of the covariance of the photos' classes, so that σ = ‖query · spread‖; the
            identity, by which all spread alike, until it is known.
        mixing: [21] the weight w at which a drawing keeps a share of 0, .05, …, 1 of the top ten against a
            contradicting text.
        share: the drawing's best share on held-out seen classes.
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
        """The weight w at which the drawing keeps a share."""
        return float(np.interp(share, np.linspace(0, 1, CALIBRATION_STEPS), self.mixing.cpu().numpy()))

    def encode_sketches(
        self, encoder: Encoder, image: Float[Tensor, "b 3 h w"], words: Float[Tensor, "b words"] | None
    ) -> Vectors:
        """Features of drawings, given their texts if there are any."""
        del words
        return encoder(image, torch.full((len(image),), int(Domain.SKETCH), device=image.device))

    def sketch_weight(self, sketch: Vectors, text: Vectors, weight: float) -> Float[Tensor, "b 1"]:
        """The weight a of each drawing in the sum, for the common weight w."""
        sketch_part, text_part = weight * self._score_spread(text), (1 - weight) * self._score_spread(sketch)
        return sketch_part / (sketch_part + text_part)

    def _score_spread(self, query: Vectors) -> Float[Tensor, "b 1"]:
        """The standard deviation of a query's scores over classes of photos."""
        return (query @ self.spread).norm(dim=1, keepdim=True).clamp(min=1e-6)

    def forward(self, sketch: Vectors, text: Float[Tensor, "b words"], share: float) -> FusedVectors:
        """Unit query vectors, and the parts of sketch and text whose sum they are.

        Args:
            sketch: unit vectors.
            text: unit vectors, in the photos' space unless the kind of fusion reads others.
            share: of the drawing, between 0 and 1.
        """
        return self.fuse_at_weight(sketch, text, self.weight_for_share(share))

    def fuse_at_weight(self, sketch: Vectors, text: Float[Tensor, "b words"], weight: float) -> FusedVectors:
        """The same for a weight in place of a share."""
        each = self.sketch_weight(sketch, text, weight)
        return normalize_sum(each * sketch, (1 - each) * text)

    def sketch_alone(self, sketch: Vectors) -> Vectors:
        """The query of a drawing without a text."""
        return sketch

    def text_alone(self, text: Float[Tensor, "b words"]) -> Vectors:
        """The query of a text without a drawing."""
        return text


def normalize_sum(sketch: Vectors, text: Vectors) -> FusedVectors:
    """The sum of two parts as unit vectors, and both parts on the same scale."""
    query = sketch + text
    length = query.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return query / length, sketch / length, text / length


class LateFusion(Fusion):
    """Late fusion: one calibrated weight for all queries."""


class GatedFusion(Fusion):
    """A gate: a small network of both vectors shifts the weight of each query in log-odds.

    It starts as late fusion. Because it works in log-odds, a weight set by the user still shifts every query.
    """

    kind = "gate"

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, **settings)
        last = nn.Linear(64, 1)
        self.reads = nn.Sequential(nn.Linear(3 * width, 64), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def sketch_weight(self, sketch: Vectors, text: Vectors, weight: float) -> Float[Tensor, "b 1"]:
        """The weight of each drawing: the sigmoid of late fusion's log-odds plus the gate's output."""
        odds = torch.logit(super().sketch_weight(sketch, text, weight), eps=1e-4)
        both = torch.cat([sketch, text, sketch * text * self.width**0.5], 1)
        return torch.sigmoid(odds + self.reads(both))


class JointFusion(Fusion):
    """A joint embedding: the output of a network of both vectors is added to their weighted sum; either may be missing.

    Trained with modality dropout. It starts as late fusion. Parts are Shapley values: the mean of what a side adds
    without the other side and after it.
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
        sketch_part, text_part = self.sketch_alone(sketch), self.text_alone(text)
        return query, (sketch_part + query - text_part) / 2, (text_part + query - sketch_part) / 2

    def sketch_alone(self, sketch: Vectors) -> Vectors:
        """The joint embedding of a drawing without a text."""
        return self._joint_embedding(sketch, torch.zeros_like(sketch))

    def text_alone(self, text: Vectors) -> Vectors:
        """The joint embedding of a text without a drawing."""
        return self._joint_embedding(torch.zeros_like(text), text)

    def _joint_embedding(self, sketch: Vectors, text: Vectors) -> Vectors:
        scale = self.width**0.5  # unit vectors have tiny entries
        added = self.adds(torch.cat([sketch, text], 1) * scale) / scale
        return F.normalize(sketch + text + added, dim=1)
