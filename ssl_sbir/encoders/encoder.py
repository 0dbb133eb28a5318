"""The interface of image encoders: pixels and a domain in, features out; preprocessing is part of an encoder."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.encoders.class_vocabulary import ClassVocabulary
from ssl_sbir.encoders.text_encoder import TextEncoder

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How images are prepared for an encoder.

    Attributes:
        size: side of the square image, in pixels.
        mean: subtracted from R, G and B in 0..1.
        std: divides the result.
        fit: how an image becomes a square of that size (see `ssl_sbir.data.decode_image.decode_image`).
    """

    size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    fit: str = "squash"

    def facts(self) -> dict[str, Any]:
        """The preprocessing as a JSON-able dict."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Preprocess":
        """The preprocessing described by `facts`.

        Raises:
            TypeError, ValueError, KeyError: a key is missing or unknown, or a value has the wrong form.
        """
        rest = {key: value for key, value in facts.items() if key not in ("mean", "std")}
        return cls(mean=to_rgb_tuple(facts["mean"]), std=to_rgb_tuple(facts["std"]), **rest)


def to_rgb_tuple(values: Iterable[float | int]) -> tuple[float, float, float]:
    """Three numbers as a tuple of floats.

    Raises:
        ValueError, TypeError: these aren't three numbers.
    """
    red, green, blue = map(float, values)
    return red, green, blue


class Encoder(nn.Module, ABC):
    """Features of images with pixels in 0..1; the encoder itself normalises mean and std.

    Attributes:
        spec: JSON-able; `encoder_from_spec(spec)` rebuilds the architecture, without weights.
        preprocess: the image size, mean and std of its training.
        width: length of a feature.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: dict[str, Any], preprocess: Preprocess, width: int) -> None:
        super().__init__()
        self.spec, self.preprocess, self.width = spec, preprocess, width
        for name, value in (("mean", preprocess.mean), ("std", preprocess.std)):
            # Not persistent: an exported encoder states them in preprocess.json, readable without torch.
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Features at each position, [b, width, rows, columns]; for a CNN their mean is the feature."""

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width] of images [b, 3, h, w] in 0..1, each of a domain (0 sketch, 1 photo)."""
        return self.feature_map(image, domain).mean((2, 3))

    def classifier(self) -> nn.Linear | None:
        """A copy of the linear classifier of the weights, or None if they have none."""
        return None

    def class_vocabulary(self) -> ClassVocabulary | None:
        """The words of `classifier()`'s rows, or None if they are unknown."""
        return None

    def load_own_text_encoder(self, device: str = "cpu") -> TextEncoder | None:
        """The text tower that was trained with these weights, into the space of their features; None without one.

        An encoder rebuilt from an export has none: after training, the towers no longer agree.

        Args:
            device: where it runs.

        Raises:
            EncoderError: its files are missing or damaged.
        """
        del device
        return None

    @property
    def text_source(self) -> str:
        """What can place texts in the space of the features, found without loading anything.

        "own": the text tower that `load_own_text_encoder` loads; "classifier": the words of its classes
        (`class_vocabulary`); empty: nothing.
        """
        return ""

    def with_fit(self, fit: str) -> "Encoder":
        """This encoder with another fit, set in place, also in the encoders that it contains."""
        for part in self.modules():
            if isinstance(part, Encoder):
                part.preprocess = replace(part.preprocess, fit=fit)
        return self

    def normalize_image(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The image minus the mean, divided by the std, of this encoder's preprocessing."""
        return (image - self.mean) / self.std
