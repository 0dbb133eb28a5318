"""Word vectors as a source of class similarity."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.names import normalise
from ssl_sbir.data.word_vectors import Words
from ssl_sbir.semantics.names import spellings
from ssl_sbir.semantics.source import Keys, Resolution, Semantics


class WordVectors(Semantics):
    """The cosine of word vectors, 0 where it is negative.

    Where no spelling of a whole name is known, but each of its words is, the name means the mean of their unit
    vectors; its head noun alone comes after that.

    Args:
        found: the vocabulary and its vectors, of which only the asked rows are read.
        spec: what it was loaded from.
    """

    def __init__(self, found: Words, spec: str) -> None:
        self.rows, self.words, self.spec = found.vectors, _places(found.words), spec

    def find(self, name: str) -> Resolution | None:
        """The row of the first spelling that is known, or the rows of a name's words."""
        heads = []
        for word, how in spellings(name):
            if "head noun" in how:
                heads.append((word, how))
            elif word in self.words:
                return Resolution(word, how, (self.words[word],))
        parts = self._parts(name)
        if parts:
            told = " + ".join(f"{part}" for part in parts)
            return Resolution(told, "as the mean of its words", tuple(self.words[part] for part in parts))
        known = next((found for found in heads if found[0] in self.words), None)
        return None if known is None else Resolution(*known, (self.words[known[0]],))

    def _parts(self, name: str) -> list[str] | None:
        for word, how in spellings(name):
            parts = word.split("_")
            if len(parts) > 1 and "head noun" not in how and all(part in self.words for part in parts):
                return parts
        return None

    def compare(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Cosines, negative ones raised to 0."""
        return (self._units(rows) @ self._units(columns).T).clamp(0, 1)

    def vectors(self, names: Sequence[str]) -> Float[Tensor, "names width"]:
        """A unit vector for each name; zeros for one that is unknown.

        Raises:
            ConfigError: one is the name of an unseen class and a run is training.
        """
        found = self.resolved(names)
        known = {place: meaning.keys for place, name in enumerate(names) if (meaning := found[name])}
        table = torch.zeros(len(names), self.rows.shape[1])
        if known:
            table[torch.tensor(list(known))] = self._units(list(known.values()))
        return table

    def _units(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        counts = [len(own) for own in keys]
        rows = np.asarray(self.rows[[key for own in keys for key in own]], np.float32)
        each = F.normalize(torch.from_numpy(rows), dim=1).split(counts)
        return F.normalize(torch.stack([part.mean(0) for part in each]), dim=1)


def _places(words: Sequence[str]) -> dict[str, int]:
    """Word → row; of words that have the same normalised spelling the first (the most frequent) counts."""
    found: dict[str, int] = {}
    for row, word in enumerate(words):
        found.setdefault(word, row)
        found.setdefault(normalise(word), row)
    return found
