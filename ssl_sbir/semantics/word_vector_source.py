"""Word vectors as a source of class similarity."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.encoders.word_vector_files import WordVectorTable
from ssl_sbir.semantics.candidate_names import candidate_spellings
from ssl_sbir.semantics.similarity_source import Keys, Resolution, Semantics


class WordVectorSemantics(Semantics):
    """The cosine of word vectors, 0 where it is negative.

    Where no spelling of a whole name is known, but each of its words is, the name means the mean of their unit
    vectors; its head noun alone comes after that.

    Args:
        vocabulary: the vocabulary and its vectors, of which only the asked rows are read.
        spec: what it was loaded from.
    """

    def __init__(self, vocabulary: WordVectorTable, spec: str) -> None:
        self.rows, self.row_by_word, self.spec = (
            vocabulary.vectors,
            _index_rows_by_word(vocabulary.words),
            spec,
        )

    def resolve_name(self, name: str) -> Resolution | None:
        """The row of the first spelling that is known, or the rows of a name's words."""
        heads = []
        for word, how in candidate_spellings(name):
            if "head noun" in how:
                heads.append((word, how))
            elif word in self.row_by_word:
                return Resolution(word, how, (self.row_by_word[word],))
        parts = self._known_parts(name)
        if parts:
            told = " + ".join(f"{part}" for part in parts)
            return Resolution(
                told, "as the mean of its words", tuple(self.row_by_word[part] for part in parts)
            )
        known = next((found for found in heads if found[0] in self.row_by_word), None)
        return None if known is None else Resolution(*known, (self.row_by_word[known[0]],))

    def _known_parts(self, name: str) -> list[str] | None:
        for word, how in candidate_spellings(name):
            parts = word.split("_")
            if len(parts) > 1 and "head noun" not in how and all(part in self.row_by_word for part in parts):
                return parts
        return None

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Cosines, negative ones raised to 0."""
        return (self._unit_vectors(rows) @ self._unit_vectors(columns).T).clamp(0, 1)

    def name_vectors(self, names: Sequence[str]) -> Float[Tensor, "names width"]:
        """A unit vector for each name; zeros for one that is unknown.

        Raises:
            ConfigError: one is the name of an unseen class and a run is training.
        """
        found = self.resolve_names(names)
        known = {place: meaning.keys for place, name in enumerate(names) if (meaning := found[name])}
        table = torch.zeros(len(names), self.rows.shape[1])
        if known:
            table[torch.tensor(list(known))] = self._unit_vectors(list(known.values()))
        return table

    def _unit_vectors(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        counts = [len(own) for own in keys]
        rows = np.asarray(self.rows[[key for own in keys for key in own]], np.float32)
        each = F.normalize(torch.from_numpy(rows), dim=1).split(counts)
        return F.normalize(torch.stack([part.mean(0) for part in each]), dim=1)


def _index_rows_by_word(words: Sequence[str]) -> dict[str, int]:
    """Word → row; of words that have the same normalised spelling the first (the most frequent) counts."""
    found: dict[str, int] = {}
    for row, word in enumerate(words):
        found.setdefault(word, row)
        found.setdefault(normalize_class_name(word), row)
    return found
