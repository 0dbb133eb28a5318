"""WordNet as a source of class similarity: SAKE's rule, repaired, or the plain measure."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.semantics.candidate_names import class_table, resolve_first_known
from ssl_sbir.semantics.class_spelling import synset_id
from ssl_sbir.semantics.similarity_source import AS_IT_IS, ConceptPath, Keys, Resolution, Semantics
from ssl_sbir.semantics.wordnet import WordNetNouns

WordNetRule = Literal["repaired", "path"]


class WordNetSemantics(Semantics):
    """Similarity of nouns. A name's synsets come from the table of class names; else its first sense is used.

    Args:
        nouns: WordNet's nouns.
        spec: the spec that it was loaded from.
        rule: `repaired`: SAKE's rule, the maximum over the synsets of a name; compared with ImageNet's classes, a name
            that would be similar to none of them keeps its largest path similarities. `path`: 1 / (1 + steps over the
            lowest common ancestor).
    """

    def __init__(self, nouns: WordNetNouns, spec: str = "wordnet", rule: WordNetRule = "repaired") -> None:
        self.nouns, self.spec, self.rule = nouns, spec, rule

    def resolve_name(self, name: str) -> Resolution | None:
        """The synsets of a name: by its id, by the table, or the first sense of the first known spelling."""
        synset, whole = synset_id(name), normalize_class_name(name)
        if synset is not None:
            key = self.nouns.find_synset(synset)
            return None if key is None else Resolution(self.nouns.describe_synset(key), AS_IT_IS, (key,))
        if whole in class_table() and class_table()[whole].get("synsets"):
            entries = class_table()[whole]["synsets"]
            keys = [self.nouns.find_synset(entry) for entry in entries]
            return Resolution(" + ".join(entries), AS_IT_IS, tuple(key for key in keys if key is not None))
        found = resolve_first_known(name, self._first_sense)
        if found is None:
            return None
        others = len(self.nouns.senses[found.matched_name]) - 1
        how = (
            found.match_step
            if not others
            else f"{_match_step_prefix(found.match_step)}the first of {others + 1} senses"
        )
        return Resolution(self.nouns.describe_synset(found.keys[0]), how, found.keys)

    def _first_sense(self, word: str) -> int | None:
        senses = self.nouns.senses.get(word)
        return senses[0] if senses else None

    def similarity(self, a: Sequence[str], b: Sequence[str]) -> Float[Tensor, "a b"]:
        """Similarities by the rule, 0 to 1; 0 if one of the two names is unknown."""
        values = super().similarity(a, b)
        alone = ~values.any(1)
        if self.rule == "repaired" and alone.any() and all(synset_id(name) for name in b):
            path = WordNetSemantics(self.nouns, self.spec, "path").similarity(a, b)
            values[alone] = torch.where(path >= path.amax(1, keepdim=True), path, 0.0)[alone]
        return values

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Similarities by the rule, 0 to 1: the maximum over the synsets of both names."""
        flat_rows, flat_columns = (sorted({key for keys in side for key in keys}) for side in (rows, columns))
        measure = self.nouns.path_similarity if self.rule == "path" else self.nouns.sake_similarity
        values = _max_over_keys(measure(flat_rows, flat_columns), flat_rows, rows)
        return torch.from_numpy(_max_over_keys(values.T, flat_columns, columns).T.copy()).float()

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The path over the nearest common ancestor, for the two nearest synsets of the names."""
        ends = (self.keys_of(name, self._table_names) for name in (a, b))
        paths = [self.nouns.hypernym_path(*pair) for pair in product(*ends)]
        up, down = min(paths, key=lambda path: len(path[0]) + len(path[1]))
        nodes = tuple(self.nouns.words[number][0] for number in (*up, *down))
        steps = len(nodes) - 1
        directions = (1,) * (len(up) - 1) + (-1,) * len(down)
        return ConceptPath(nodes, ("is a",) * steps, directions, None, 1 / (1 + steps))

    @property
    def _table_names(self) -> list[str]:
        return list(class_table())


def _match_step_prefix(how: str) -> str:
    return "" if how == AS_IT_IS else f"{how}, "


def _max_over_keys(values: np.ndarray, flat: list[int], keys: Sequence[Keys]) -> np.ndarray:
    """The maximum over the rows of each name's synsets: [flat, m] → [keys, m]."""
    row_by_key = {key: row for row, key in enumerate(flat)}
    return np.stack([values[[row_by_key[key] for key in one]].max(0) for one in keys])
