"""What every image encoder is: pixels and a domain in, features out, its own preprocessing inside."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How pixels reach an encoder: side of the square, mean and std of RGB in 0..1, how an image is fitted.

    Attributes:
        size: side of the square image, in pixels.
        mean: subtracted from each of R, G, B in 0..1.
        std: divides each of R, G, B after that.
        fit: how a picture becomes a square of that size (`ssl_sbir.data.decode_image.decode` lists the ways).
    """

    size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    fit: str = "squash"

    def facts(self) -> dict[str, Any]:
        """The same as a JSON-able dict."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Preprocess":
        """The preprocessing that `facts` describes.

        Raises:
            TypeError, ValueError, KeyError: a key is missing or unknown, or a value has the wrong form.
        """
        rest = {key: value for key, value in facts.items() if key not in ("mean", "std")}
        return cls(mean=to_rgb_tuple(facts["mean"]), std=to_rgb_tuple(facts["std"]), **rest)


def to_rgb_tuple(values: Iterable[float | int]) -> tuple[float, float, float]:
    """Three numbers as a tuple of floats.

    Raises:
        ValueError, TypeError: they aren't three numbers.
    """
    red, green, blue = map(float, values)
    return red, green, blue


class Encoder(nn.Module, ABC):
    """Features of images; normalises mean and std itself, so it takes pixels in 0..1.

    Attributes:
        spec: JSON-able; `encoder_from_spec(spec)` rebuilds the architecture, without weights.
        preprocess: the size, mean and std it was made for.
        width: length of a feature.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: dict[str, Any], preprocess: Preprocess, width: int) -> None:
        super().__init__()
        self.spec, self.preprocess, self.width = spec, preprocess, width
        for name, value in (("mean", preprocess.mean), ("std", preprocess.std)):
            # Not persistent: preprocess.json says it once, for whoever reads it without torch.
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """Features where they are, [b, width, rows, columns]; a CNN's mean over space is the feature."""

    def forward(self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]) -> Float[Tensor, "b width"]:
        """Features [b, width] of images [b, 3, h, w] in 0..1, each of a domain (0 sketch, 1 photo)."""
        return self.feature_map(image, domain).mean((2, 3))

    def classifier(self) -> nn.Linear | None:
        """A copy of the linear ImageNet head that came with the weights, or None where there is none."""
        return None

    def with_fit(self, fit: str) -> "Encoder":
        """This encoder, told how pictures are brought to its size; whatever it consists of is told as well."""
        for part in self.modules():
            if isinstance(part, Encoder):
                part.preprocess = replace(part.preprocess, fit=fit)
        return self

    def normalize_image(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The image less the mean, over the standard deviation, of this encoder's pretraining."""
        return (image - self.mean) / self.std
