"""Each side of a pair, embedded once and then held constant while the other side is explained."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import EncoderError, ExplainError

# A feature map explains an embedding only if it averages to it.
POOLING_TOLERANCE = 1e-3
Centres = Mapping[Domain, Tensor]


@dataclass(frozen=True)
class EncodedImages:
    """Images of one domain as an encoder sees them.

    Attributes:
        image: [b, 3, h, w] in 0..1.
        embedding: [b, d], less the domain's centre.
        features: [b, d, h, w], less the centre, whose spatial mean is `embedding`; None where there is none.
        why_no_features: why there is no feature map; empty where there is one.
        strokes: [p, h, w], the strokes of a drawing that is known as strokes; None for pixels.
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
        """Embeddings of other images of this domain, less the centre."""
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
    """The embedded side; the encoder must be in evaluation mode.

    Args:
        encoder: sees the images.
        image: in 0..1.
        domain: of all of them.
        centres: vectors to subtract from each domain's embeddings.
        pooled: it is known that this encoder's map averages to its embedding, so one pass gives both.

    Raises:
        ExplainError: the centre has another width than the embedding.
    """
    with torch.no_grad():
        features: Tensor | None
        lacks = ""
        if pooled:
            features = encoder.feature_map(image, domain_tags(image, domain))
            raw = features.mean((2, 3))
        else:
            raw = encoder(image, domain_tags(image, domain))
            features, lacks = _pooled_feature_map(encoder, image, domain, raw)
        centre = _domain_center(centres, domain, raw)
    centred = None if features is None else features - centre[:, None, None]
    return EncodedImages(encoder, domain, image, centre, raw - centre, centred, lacks)


def _pooled_feature_map(
    encoder: Encoder, image: Tensor, domain: Domain, embedding: Tensor
) -> tuple[Tensor | None, str]:
    try:
        features = encoder.feature_map(image, domain_tags(image, domain))
    except (EncoderError, NotImplementedError) as error:
        return None, getattr(error, "message", "") or "the encoder has no feature map"
    if features.ndim != 4 or features.shape[1] != embedding.shape[1]:
        return None, "the encoder's feature map has another width than its embedding"
    if (features.mean((2, 3)) - embedding).norm() > POOLING_TOLERANCE * embedding.norm():
        return None, "the encoder's feature map doesn't average to its embedding"
    return features, ""


def domain_tags(image: Float[Tensor, "b 3 h w"], domain: Domain) -> Int[Tensor, " b"]:
    """One and the same domain for each image, [b]."""
    return torch.full((len(image),), int(domain), dtype=torch.int64, device=image.device)


def _domain_center(centres: Centres | None, domain: Domain, embedding: Tensor) -> Tensor:
    if not centres or domain not in centres:
        return torch.zeros_like(embedding[0])
    centre = centres[domain].to(embedding)
    if centre.shape != embedding.shape[1:]:
        raise ExplainError(
            f"centre of {domain.name.lower()}s has shape {tuple(centre.shape)}, "
            f"embeddings have {embedding.shape[1]} numbers",
            "Take the mean of embeddings of the same encoder.",
        )
    return centre
