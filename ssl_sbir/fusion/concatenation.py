"""The counter-example: drawing and photo, each concatenated with the text of its class (prototypes 2 to 4)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.encoders import Encoder, TextEncoder
from ssl_sbir.fusion.fusion_kinds import FusedVectors, Fusion, Vectors, normalize_sum
from ssl_sbir.fusion.text_tower import TextTower


class ConcatenationFusion(Fusion):
    """A linear layer from [image; text] to one vector, one for queries and one for photos. A missing input is zero.

    Both unit vectors are scaled to length √width, so that the layer's inputs are of order 1. The parts are exact: the
    layer's output for each input, with half of the bias each. Weights multiply the inputs.

    Args:
        width: of the image features and of the result.
        words: width of the text encoder.
    """

    kind = "concatenation"

    def __init__(self, width: int, words: int) -> None:
        super().__init__(width, words=words)
        self.query, self.photo = nn.Linear(width + words, width), nn.Linear(width + words, width)

    def project_pair(self, side: nn.Linear, image: Vectors, words: Float[Tensor, "b words"]) -> Vectors:
        """The output of a side's layer for image features and text vectors."""
        return side(torch.cat([scale_to_sqrt_width(image), scale_to_sqrt_width(words)], 1))

    def fuse_at_weight(self, sketch: Vectors, text: Float[Tensor, "b words"], weight: float) -> FusedVectors:
        """Unit query vectors and their parts; a weight of .5 leaves both inputs unchanged."""
        return normalize_sum(
            2 * weight * self._project_sketch(sketch), 2 * (1 - weight) * self._project_text(text)
        )

    def sketch_alone(self, sketch: Vectors) -> Vectors:
        """The drawing's part alone, as a unit vector."""
        return F.normalize(self._project_sketch(sketch), dim=1)

    def text_alone(self, text: Float[Tensor, "b words"]) -> Vectors:
        """The text's part alone, as a unit vector."""
        return F.normalize(self._project_text(text), dim=1)

    def _project_sketch(self, sketch: Vectors) -> Vectors:
        return F.linear(scale_to_sqrt_width(sketch), self.query.weight[:, : self.width], self.query.bias / 2)

    def _project_text(self, text: Float[Tensor, "b words"]) -> Vectors:
        return F.linear(scale_to_sqrt_width(text), self.query.weight[:, self.width :], self.query.bias / 2)


def scale_to_sqrt_width(vectors: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """The vectors scaled to length √n; zero stays zero."""
    return F.normalize(vectors, dim=1) * vectors.shape[1] ** 0.5


class LabelTextTower(TextTower):
    """The text side of a run whose gallery reads the text of each photo's label; it can't be used for search.

    Args:
        encoder: of the class names.
        image_encoder: the run's.
        width: of the image features and of the compared vectors.
    """

    kind = ConcatenationFusion.kind
    reads_labels = True
    fusion: ConcatenationFusion

    def __init__(self, encoder: TextEncoder, image_encoder: Encoder, width: int) -> None:
        super().__init__(encoder, image_encoder, nn.Identity(), ConcatenationFusion(width, encoder.width))

    def to_photo_space(self, vectors: Float[Tensor, "b words"]) -> Float[Tensor, "b words"]:
        """The text encoder's vectors unchanged: the layer reads them."""
        return vectors.to(self.fusion.mixing.device)

    def embed_photos(self, features: Vectors, words: Float[Tensor, "b words"]) -> Vectors:
        """Unit vectors of photos with the texts of their labels: the leak that the audit finds."""
        return F.normalize(self.fusion.project_pair(self.fusion.photo, features, words), dim=1)
