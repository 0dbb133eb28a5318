"""WordNet as a source of class similarity: SAKE's rule repaired, as its released code has it, or the plain measure."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.names import normalise
from ssl_sbir.semantics.names import class_table, first_known, spellings, synset_id
from ssl_sbir.semantics.source import AS_IT_IS, ConceptPath, Keys, Resolution, Semantics
from ssl_sbir.semantics.wordnet import Nouns

Rule = Literal["repaired", "overwritten", "path"]


class WordNet(Semantics):
    """Similarity of nouns. A name's synsets come from the table of class names, or its first sense is taken.

    Args:
        nouns: WordNet's.
        spec: what it was loaded from.
        rule: `repaired`: SAKE's rule, the maximum over the synsets of a name; a row that would be nothing but 0
            keeps its largest path similarities. `overwritten`: over every sense of the name, the last one that is
            not 0 counts, as in SAKE's released matrix. `path`: 1 / (1 + steps over the lowest common ancestor).
    """

    def __init__(self, nouns: Nouns, spec: str = "wordnet", rule: Rule = "repaired") -> None:
        self.nouns, self.spec, self.rule = nouns, spec, rule

    def find(self, name: str) -> Resolution | None:
        """The synsets that a name means: by its id, by the table, or its first sense by the back-off."""
        synset, whole = synset_id(name), normalise(name)
        if synset is not None:
            place = self.nouns.of_id(synset)
            return None if place is None else Resolution(self.nouns.id_of(place), AS_IT_IS, (place,))
        if self.rule == "overwritten":
            return self._every_sense(name)
        if whole in class_table() and class_table()[whole].get("synsets"):
            entries = class_table()[whole]["synsets"]
            places = [self.nouns.of_id(entry) for entry in entries]
            return Resolution(" + ".join(entries), AS_IT_IS, tuple(p for p in places if p is not None))
        found = first_known(name, self._first_sense)
        if found is None:
            return None
        others = len(self.nouns.senses[found.found]) - 1
        how = found.how if not others else f"{_and(found.how)}the first of {others + 1} senses"
        return Resolution(self.nouns.id_of(found.keys[0]), how, found.keys)

    def _first_sense(self, word: str) -> int | None:
        senses = self.nouns.senses.get(word)
        return senses[0] if senses else None

    def _every_sense(self, name: str) -> Resolution | None:
        for word, how in spellings(name):
            if senses := self.nouns.senses.get(word):
                return Resolution(word, f"{_and(how)}all of {len(senses)} senses", senses)
        return None

    def compare(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """The similarities by the rule, 0 to 1."""
        flat_rows, flat_columns = (sorted({key for keys in side for key in keys}) for side in (rows, columns))
        measure = self.nouns.path_similarity if self.rule == "path" else self.nouns.sake_similarity
        values = _combined(measure(flat_rows, flat_columns), flat_rows, rows, self.rule)
        values = _combined(values.T, flat_columns, columns, self.rule).T
        if self.rule == "repaired" and not values.any(1).all():
            empty = np.flatnonzero(~values.any(1))
            path = self.nouns.path_similarity(flat_rows, flat_columns)
            path = _combined(_combined(path, flat_rows, rows, "path").T, flat_columns, columns, "path").T[
                empty
            ]
            values[empty] = np.where(path >= path.max(1, keepdims=True), path, 0.0)
        return torch.from_numpy(values.copy()).float()

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The way from one name up to the nearest common ancestor and down to the other."""
        ends = self.key_of(a, self._words), self.key_of(b, self._words)
        up, down = self.nouns.path(*ends)
        nodes = tuple(self.nouns.words[number][0] for number in (*up, *down))
        steps = len(nodes) - 1
        directions = (1,) * (len(up) - 1) + (-1,) * len(down)
        return ConceptPath(nodes, ("is a",) * steps, directions, None, 1 / (1 + steps))

    @property
    def _words(self) -> list[str]:
        return list(class_table())


def _and(how: str) -> str:
    return "" if how == AS_IT_IS else f"{how}, "


def _combined(values: np.ndarray, flat: list[int], keys: Sequence[Keys], rule: Rule) -> np.ndarray:
    """[flat, m] → [keys, m]: of the rows of each name's synsets the maximum, or the last that isn't 0."""
    place = {key: number for number, key in enumerate(flat)}
    found = np.empty((len(keys), values.shape[1]))
    for row, own in enumerate(keys):
        parts = values[[place[key] for key in own]]
        found[row] = parts.max(0) if rule != "overwritten" else _last(parts)
    return found


def _last(parts: np.ndarray) -> np.ndarray:
    """Of each column the last value that isn't 0; 0 where there is none."""
    backwards = parts[::-1]
    return backwards[(backwards > 0).argmax(0), np.arange(parts.shape[1])]
