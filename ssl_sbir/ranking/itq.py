"""Binary codes by iterative quantisation (ITQ), packed into bytes, and their Hamming ranking.

Gong & Lazebnik, "Iterative quantization", CVPR 2011: principal components, then a rotation that brings them close
to the corners of a cube. It is fitted on training features only; published code of the field fits it on the test set,
which is transductive.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ssl_sbir.errors import EvaluationError
from ssl_sbir.ranking.similarity import TiledScores, distinct_rows

ITQ_ITERATIONS = 50


@dataclass(frozen=True)
class ItqQuantizer:
    """Maps features to codes: `(x − mean) @ projection > 0`.

    Attributes:
        mean: [d] of the training features.
        projection: [d, bits].
    """

    mean: Float[Tensor, " d"]
    projection: Float[Tensor, "d bits"]

    @property
    def bits(self) -> int:
        """Bits per code."""
        return self.projection.shape[1]

    def binary_codes(self, features: Float[Tensor, "n d"]) -> UInt8[Tensor, "n bytes"]:
        """Packed codes, eight bits per byte, the first bit lowest."""
        signs = (features.double() - self.mean) @ self.projection > 0
        bit = torch.tensor([1 << shift for shift in range(8)], dtype=torch.uint8, device=signs.device)
        return (signs.view(len(signs), -1, 8) * bit).sum(2, dtype=torch.uint8)


def fit_itq_quantizer(training: Float[Tensor, "m d"], bits: int, *, seed: int = 0) -> ItqQuantizer:
    """The quantiser fitted to training features.

    Args:
        training: [m, d] features of images of seen classes.
        bits: a multiple of 8 from 16 to 512, at most d and at most m.
        seed: of the first rotation.

    Raises:
        EvaluationError: the number of bits is invalid.
    """
    rows, width = training.shape
    if bits % 8 or not 16 <= bits <= 512 or bits > min(rows, width):
        raise EvaluationError(
            f"{rows} training features of width {width} can't give codes of {bits} bits",
            "Bits are a multiple of 8 from 16 to 512, no more than the width and the number of images.",
        )
    training = training.double()
    mean = training.mean(0)
    values, vectors = torch.linalg.eigh((training - mean).T @ (training - mean))
    axes = vectors[:, values.argsort(descending=True)[:bits]]
    return ItqQuantizer(mean, axes @ _fit_rotation((training - mean) @ axes, seed))


def hamming_scores(query: UInt8[Tensor, "q bytes"], gallery: UInt8[Tensor, "n bytes"]) -> TiledScores:
    """Scores bits − 2 · Hamming distance, exact: products of ±1."""
    first_rows, distinct_index = distinct_rows(gallery)
    return TiledScores(_unpack_signs(query), _unpack_signs(gallery[first_rows]), distinct_index)


def _fit_rotation(projected: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    bits = projected.shape[1]
    rotation = torch.linalg.qr(torch.randn(bits, bits, generator=generator, dtype=torch.float64)).Q.to(
        projected.device
    )
    for _ in range(ITQ_ITERATIONS):
        corners = torch.where(projected @ rotation > 0, 1.0, -1.0).double()
        left, _, right = torch.linalg.svd(projected.T @ corners)
        rotation = left @ right
    return rotation


def _unpack_signs(codes: Tensor) -> Tensor:
    shifts = torch.arange(8, dtype=torch.uint8, device=codes.device)
    bits = (codes[:, :, None] >> shifts) & 1
    return bits.view(len(codes), -1).float() * 2 - 1
