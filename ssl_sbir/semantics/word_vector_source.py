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
from ssl_sbir.semantics.similarity_source import Keys, Resolution
from ssl_sbir.semantics.vector_source import VectorSemantics


class WordVectorSemantics(VectorSemantics):
    """The cosine of word vectors, with negative values set to 0.

    If no spelling of a whole name is known, but each of its words is, the mean of their unit vectors is used; the head
    noun alone is the last resort.

    Args:
        vocabulary: the words and their vectors, of which only the needed rows are read.
        spec: the spec that it was loaded from.
    """

    def __init__(self, vocabulary: WordVectorTable, spec: str) -> None:
        self.rows, self.spec = vocabulary.vectors, spec
        self.row_by_word = _index_rows_by_word(vocabulary.words)

    @property
    def width(self) -> int:
        """The vectors' width."""
        return self.rows.shape[1]

    def resolve_name(self, name: str) -> Resolution | None:
        """The row of the first known spelling, or the rows of the name's words."""
        heads = []
        for word, how in candidate_spellings(name):
            if "head noun" in how:
                heads.append((word, how))
            elif word in self.row_by_word:
                return Resolution(word, how, (self.row_by_word[word],))
        parts = self._known_parts(name)
        if parts:
            rows = tuple(self.row_by_word[part] for part in parts)
            return Resolution(" + ".join(parts), "as the mean of its words", rows)
        known = next((found for found in heads if found[0] in self.row_by_word), None)
        return None if known is None else Resolution(*known, (self.row_by_word[known[0]],))

    def _known_parts(self, name: str) -> list[str] | None:
        for word, how in candidate_spellings(name):
            parts = word.split("_")
            if len(parts) > 1 and "head noun" not in how and all(part in self.row_by_word for part in parts):
                return parts
        return None

    def unit_vectors(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        """The mean of each name's unit vectors, scaled to length 1."""
        counts = [len(own) for own in keys]
        rows = np.asarray(self.rows[[key for own in keys for key in own]], np.float32)
        each = F.normalize(torch.from_numpy(rows), dim=1).split(counts)
        return F.normalize(torch.stack([part.mean(0) for part in each]), dim=1)


def _index_rows_by_word(words: Sequence[str]) -> dict[str, int]:
    """From word to row; of words with the same normalised spelling the first (the most frequent) is used."""
    found: dict[str, int] = {}
    for row, word in enumerate(words):
        found.setdefault(word, row)
        found.setdefault(normalize_class_name(word), row)
    return found
