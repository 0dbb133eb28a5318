"""One side of a drawing-photo pair: its images, embedded once, and their similarity to the fixed other side."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import EncoderError, ExplainError

# A feature map explains an embedding only if its spatial mean is that embedding (relative error).
POOLING_TOLERANCE = 1e-3
Centres = Mapping[Domain, Tensor]


@dataclass(frozen=True)
class EncodedImages:
    """Images of one domain with their embeddings.

    Attributes:
        image: [b, 3, h, w] in 0..1.
        embedding: [b, d], minus the domain's centre.
        features: [b, d, h, w], minus the centre; its spatial mean is `embedding`. None if the encoder has no map.
        why_no_features: why there is no feature map; empty if there is one.
        strokes: [p, h, w], the strokes of a vector drawing; None for a drawing of pixels.
    """

    encoder: Encoder
    domain: Domain
    image: Float[Tensor, "b 3 h w"]
    centre: Float[Tensor, " d"]
    embedding: Float[Tensor, "b d"]
    features: Float[Tensor, "b d i j"] | None
    why_no_features: str
    strokes: Bool[Tensor, "p h w"] | None = None

    def embed(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Embeddings of other images of this domain, minus the centre."""
        with torch.inference_mode():
            return self.encoder(image, domain_tags(image, self.domain)) - self.centre


def encode_images(
    encoder: Encoder,
    image: Float[Tensor, "b 3 h w"],
    domain: Domain,
    centres: Centres | None = None,
    *,
    pooled: bool = False,
) -> EncodedImages:
    """The images with their embeddings and, if possible, feature maps; the encoder must be in evaluation mode.

    Args:
        image: values in 0..1.
        domain: of all images.
        centres: vectors to subtract from each domain's embeddings.
        pooled: whether the spatial mean of this encoder's feature map is known to be its embedding; then one
            forward pass gives both.

    Raises:
        ExplainError: centre and embedding differ in width.
    """
    with torch.no_grad():
        features: Tensor | None
        why_no_features = ""
        if pooled:
            features = encoder.feature_map(image, domain_tags(image, domain))
            raw = features.mean((2, 3))
        else:
            raw = encoder(image, domain_tags(image, domain))
            features, why_no_features = _pooled_feature_map(encoder, image, domain, raw)
        centre = _domain_center(centres, domain, raw)
    centred = None if features is None else features - centre[:, None, None]
    return EncodedImages(encoder, domain, image, centre, raw - centre, centred, why_no_features)


class SideSimilarity(nn.Module):
    """Cosine between images of one side and fixed embeddings of the other side, as a module for captum."""

    def __init__(self, side: EncodedImages) -> None:
        super().__init__()
        self.encoder, self.side = side.encoder, side

    def forward(self, image: Float[Tensor, "k 3 h w"], others: Float[Tensor, "k d"]) -> Float[Tensor, " k"]:
        """The similarity of the k-th image and the k-th embedding."""
        embedding = self.encoder(image, domain_tags(image, self.side.domain)) - self.side.centre
        return torch.cosine_similarity(embedding, others)


def _pooled_feature_map(
    encoder: Encoder, image: Tensor, domain: Domain, embedding: Tensor
) -> tuple[Tensor | None, str]:
    try:
        features = encoder.feature_map(image, domain_tags(image, domain))
    except (EncoderError, NotImplementedError) as error:
        return None, getattr(error, "message", "") or "the encoder has no feature map"
    if features.ndim != 4 or features.shape[1] != embedding.shape[1]:
        return None, "the encoder's feature map and its embedding differ in width"
    if (features.mean((2, 3)) - embedding).norm() > POOLING_TOLERANCE * embedding.norm():
        return None, "the encoder's feature map doesn't average to its embedding"
    return features, ""


def domain_tags(image: Float[Tensor, "b 3 h w"], domain: Domain) -> Int[Tensor, " b"]:
    """The domain repeated for each image, [b]."""
    return torch.full((len(image),), int(domain), dtype=torch.int64, device=image.device)


def _domain_center(centres: Centres | None, domain: Domain, embedding: Tensor) -> Tensor:
    if not centres or domain not in centres:
        return torch.zeros_like(embedding[0])
    centre = centres[domain].to(embedding)
    if centre.shape != embedding.shape[1:]:
        raise ExplainError(
            f"centre of {domain.name.lower()}s has shape {tuple(centre.shape)}, "
            f"embeddings have {embedding.shape[1]} numbers",
            "Compute the centre as the mean of this encoder's embeddings.",
        )
    return centre
