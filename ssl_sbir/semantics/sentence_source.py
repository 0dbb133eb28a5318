"""Sentence encoders as a source of class similarity: names are read as short texts."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.encoders.text_encoder import TextEncoder, load_text_encoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.semantics.candidate_names import imagenet_words
from ssl_sbir.semantics.class_spelling import synset_id
from ssl_sbir.semantics.similarity_source import AS_IT_IS, Keys, Resolution, Semantics


class SentenceSemantics(Semantics):
    """The cosine of texts' vectors, 0 where it is negative.

    A class name is read with spaces for its underscores and its brackets left open ("crane machine"); one of
    ImageNet's with its first two words, which keeps apart most that share one ("mouse, computer mouse").

    Args:
        encoder: texts → unit vectors.
        spec: what it was loaded from.
    """

    def __init__(self, encoder: TextEncoder, spec: str) -> None:
        self.encoder, self.spec = encoder, spec
        self.text_indices: dict[str, int] = {}
        self._unit_vectors: dict[int, Tensor] = {}

    def resolve_name(self, name: str) -> Resolution | None:
        """The text that is read; what the encoder passes over or mends is told."""
        synset = synset_id(name)
        words = imagenet_words().get(synset, (name,)) if synset else (normalize_class_name(name),)
        text = ", ".join(words[:2]).replace("_", " ").replace("(", "").replace(")", "")
        reading = self.encoder.tokenization_report(text)
        if not reading.num_tokens:
            return None
        place = self.text_indices.setdefault(text, len(self.text_indices))
        # A rare word that is read in parts is still read: that it might be misspelt is nothing to say of a class.
        notes = replace(reading, suggestions=()).describe_problems()
        return Resolution(text, "; ".join(notes) or AS_IT_IS, (place,))

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Cosines, negative ones raised to 0."""
        return (self._text_vectors(rows) @ self._text_vectors(columns).T).clamp(0, 1)

    def name_vectors(self, names: Sequence[str]) -> Float[Tensor, "names width"]:
        """A unit vector for each name; zeros for one that is unknown.

        Raises:
            ConfigError: one is the name of an unseen class and a run is training.
        """
        found = self.resolve_names(names)
        known = {place: meaning.keys for place, name in enumerate(names) if (meaning := found[name])}
        table = torch.zeros(len(names), self.encoder.width)
        if known:
            table[torch.tensor(list(known))] = self._text_vectors(list(known.values()))
        return table

    def _text_vectors(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        texts = list(self.text_indices)
        missing = sorted({own[0] for own in keys} - self._unit_vectors.keys())
        if missing:
            self._unit_vectors.update(
                zip(missing, self.encoder([texts[place] for place in missing]), strict=True)
            )
        return torch.stack([self._unit_vectors[own[0]] for own in keys])


def load_sentences(encoder_spec: str, spec: str) -> SentenceSemantics:
    """The source of a text encoder, by default the packaged sentence encoder.

    Raises:
        EncoderError: the encoder is unknown, or can't be had.
    """
    try:
        return SentenceSemantics(load_text_encoder(encoder_spec or "minilm"), spec)
    except EncoderError as error:
        raise EncoderError(f"semantics = '{spec}': {error.message}", error.hint) from error
