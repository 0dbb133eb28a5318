"""Sentence encoders as a source of class similarity: names are read as short texts."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.names import normalise
from ssl_sbir.encoders.text import TextEncoder, load_text_encoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.semantics.names import imagenet_words
from ssl_sbir.semantics.source import AS_IT_IS, Keys, Resolution, Semantics
from ssl_sbir.semantics.spelling import synset_id


class Sentences(Semantics):
    """The cosine of texts' vectors, 0 where it is negative.

    A class name is read with spaces for its underscores and its brackets left open ("crane machine"); one of
    ImageNet's with its first two words, which keeps apart most that share one ("mouse, computer mouse").

    Args:
        encoder: texts → unit vectors.
        spec: what it was loaded from.
    """

    def __init__(self, encoder: TextEncoder, spec: str) -> None:
        self.encoder, self.spec = encoder, spec
        self.places: dict[str, int] = {}
        self._units: dict[int, Tensor] = {}

    def find(self, name: str) -> Resolution | None:
        """The text that is read; what the encoder passes over or mends is told."""
        synset = synset_id(name)
        words = imagenet_words().get(synset, (name,)) if synset else (normalise(name),)
        text = ", ".join(words[:2]).replace("_", " ").replace("(", "").replace(")", "")
        reading = self.encoder.reading(text)
        if not reading.read:
            return None
        place = self.places.setdefault(text, len(self.places))
        # A rare word that is read in parts is still read: that it might be misspelt is nothing to say of a class.
        notes = replace(reading, doubtful=()).notes()
        return Resolution(text, "; ".join(notes) or AS_IT_IS, (place,))

    def compare(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Cosines, negative ones raised to 0."""
        return (self._of(rows) @ self._of(columns).T).clamp(0, 1)

    def vectors(self, names: Sequence[str]) -> Float[Tensor, "names width"]:
        """A unit vector for each name; zeros for one that is unknown.

        Raises:
            ConfigError: one is the name of an unseen class and a run is training.
        """
        found = self.resolved(names)
        known = {place: meaning.keys for place, name in enumerate(names) if (meaning := found[name])}
        table = torch.zeros(len(names), self.encoder.width)
        if known:
            table[torch.tensor(list(known))] = self._of(list(known.values()))
        return table

    def _of(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        texts = list(self.places)
        missing = sorted({own[0] for own in keys} - self._units.keys())
        if missing:
            self._units.update(zip(missing, self.encoder([texts[place] for place in missing]), strict=True))
        return torch.stack([self._units[own[0]] for own in keys])


def load_sentences(where: str, spec: str) -> Sentences:
    """The source of a text encoder, by default the packaged sentence encoder.

    Raises:
        EncoderError: the encoder is unknown, or can't be had.
    """
    try:
        return Sentences(load_text_encoder(where or "minilm"), spec)
    except EncoderError as error:
        raise EncoderError(f"semantics = '{spec}': {error.message}", error.hint) from error
