"""Sentence encoders as a source of class similarity: names are embedded as short texts."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.encoders.load_text import load_text_encoder
from ssl_sbir.encoders.text_encoder import TextEncoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.semantics.candidate_names import imagenet_words
from ssl_sbir.semantics.class_spelling import synset_id
from ssl_sbir.semantics.similarity_source import AS_IT_IS, Keys, Resolution
from ssl_sbir.semantics.vector_source import VectorSemantics


class SentenceSemantics(VectorSemantics):
    """The cosine of text vectors, with negative values set to 0.

    In a class name underscores become spaces and brackets are dropped ("crane machine"); of an ImageNet class the
    first two words are used, which distinguishes most classes that share one ("mouse, computer mouse").

    Args:
        encoder: texts to unit vectors.
        spec: the spec that it was loaded from.
    """

    def __init__(self, encoder: TextEncoder, spec: str) -> None:
        self.encoder, self.spec = encoder, spec
        self.text_indices: dict[str, int] = {}
        self._unit_vectors: dict[int, Tensor] = {}

    def resolve_name(self, name: str) -> Resolution | None:
        """The text that is embedded, with a note on what the encoder ignores or corrects; None for an unknown word."""
        synset = synset_id(name)
        words = imagenet_words().get(synset, (name,)) if synset else (normalize_class_name(name),)
        text = ", ".join(words[:2]).replace("_", " ").replace("(", "").replace(")", "")
        reading = self.encoder.tokenization_report(text)
        if not reading.num_tokens:
            return None
        index = self.text_indices.setdefault(text, len(self.text_indices))
        # A rare word that is split into parts is understood; no spelling is suggested for a class name.
        notes = replace(reading, suggestions=()).describe_problems()
        return Resolution(text, "; ".join(notes) or AS_IT_IS, (index,))

    @property
    def width(self) -> int:
        """The encoder's width."""
        return self.encoder.width

    def unit_vectors(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        """The texts' vectors, each text embedded once."""
        texts = list(self.text_indices)
        missing = sorted({own[0] for own in keys} - self._unit_vectors.keys())
        if missing:
            self._unit_vectors.update(
                zip(missing, self.encoder([texts[index] for index in missing]), strict=True)
            )
        return torch.stack([self._unit_vectors[own[0]] for own in keys])


def load_sentences(encoder_spec: str, spec: str) -> SentenceSemantics:
    """The source of a text encoder, by default the packaged sentence encoder.

    Raises:
        EncoderError: the encoder is unknown or unavailable.
    """
    try:
        return SentenceSemantics(load_text_encoder(encoder_spec or "minilm"), spec)
    except EncoderError as error:
        raise EncoderError(f"semantics = '{spec}': {error.message}", error.hint) from error
