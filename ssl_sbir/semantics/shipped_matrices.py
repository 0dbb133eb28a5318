"""The similarity that SAKE's authors ship, and the controls: none at all, and another source's with names mixed up."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.files import sha256_of
from ssl_sbir.semantics.candidate_names import candidate_spellings, imagenet_ids
from ssl_sbir.semantics.class_spelling import synset_id
from ssl_sbir.semantics.similarity_source import AS_IT_IS, ConceptPath, Keys, Resolution, Semantics


class SakeMatrixSemantics(Semantics):
    """A ready matrix of classes × ImageNet's 1,000 classes, as SAKE's authors made it from WordNet.

    Args:
        similarity: [classes, 1000], 0 to 1.
        classes: names of the rows.
        spec: what it was loaded from.
    """

    def __init__(self, similarity: Float[Tensor, "classes 1000"], classes: Sequence[str], spec: str) -> None:
        self.table, self.spec = similarity, spec
        self.rows = {normalize_class_name(name): row for row, name in enumerate(classes)}

    def resolve_name(self, name: str) -> Resolution | None:
        """The row of a class, or the column of one of ImageNet's (counted on behind the rows)."""
        synset = synset_id(name)
        if synset is not None:
            column = imagenet_ids().get(synset)
            return None if column is None else Resolution(name, AS_IT_IS, (len(self.rows) + column,))
        for word, how in candidate_spellings(name):
            if word in self.rows:
                return Resolution(word, how, (self.rows[word],))
        return None

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """The entries of the matrix.

        Raises:
            ConfigError: two classes, or two of ImageNet's, are compared: the matrix has no such entries.
        """
        count = len(self.rows)
        own, answers = (torch.tensor([keys[0] for keys in side]) for side in (rows, columns))
        if (own >= count).any() or (answers < count).any():
            raise ConfigError(
                f"'{self.spec}' compares classes with ImageNet's 1,000 classes only, not with each other",
                "Take wordnet, conceptnet:FILE or word vectors for that.",
            )
        return self.table[own[:, None], answers - count]


def load_sake_matrix(path: str, spec: str) -> SakeMatrixSemantics:
    """A matrix from an .npz file with `similarity` [classes, 1000] and `classes` [classes].

    Raises:
        DataError: the file is missing, no .npz, or its arrays don't fit.
    """
    hint = "It needs the arrays similarity [classes, 1000] and classes [classes]."
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            table, classes = file["similarity"], [str(name) for name in file["classes"]]
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", hint) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise DataError(f"{path} can't be read as SAKE's similarity: {error}", hint) from error
    if table.dtype.kind != "f" or not ((table >= 0) & (table <= 1)).all():
        raise DataError(f"{path}: similarity isn't floats from 0 to 1 ({table.dtype})", hint)
    if len({normalize_class_name(name) for name in classes}) < len(classes):
        twice = next(
            n
            for n in classes
            if sum(normalize_class_name(n) == normalize_class_name(other) for other in classes) > 1
        )
        raise DataError(f"{path}: the class '{twice}' is there twice", hint)
    if table.shape != (len(classes), 1000):
        raise DataError(
            f"{path}: similarity is {list(table.shape)}, but there are {len(classes)} classes", hint
        )
    return SakeMatrixSemantics(torch.from_numpy(table).float(), classes, spec)


class NoSemantics(Semantics):
    """Knows every name, and finds no two alike: the control without semantics."""

    spec = "none"

    def resolve_name(self, name: str) -> Resolution | None:
        """The name itself."""
        return Resolution(normalize_class_name(name), AS_IT_IS, (0,))

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Zeros."""
        return torch.zeros(len(rows), len(columns))


class ShuffledSemantics(Semantics):
    """Another source's similarities, but each class has those of another one: same values, no meaning.

    The names that are asked about (the rows) change places among each other, by what the source takes them for; the
    same names as columns follow them, all other columns stay: ImageNet's, which carry their ids, among them. Nobody
    keeps his own place.

    Args:
        source: whose similarities are mixed up.
        seed: of the mixing.
    """

    def __init__(self, source: Semantics, seed: int, spec: str) -> None:
        self.source, self.seed, self.spec = source, seed, spec

    def resolve_name(self, name: str) -> Resolution | None:
        """What the source finds."""
        return self.source.resolve_name(name)

    def similarity(self, a: Sequence[str], b: Sequence[str]) -> Float[Tensor, "a b"]:
        """The source's similarities of the mixed-up names; 0 where one is unknown."""
        other = self._shuffled_names(a)
        mixed = [[other.get(name, name) for name in names] for names in (a, b)]
        return self.source.similarity(*mixed)

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """The source's values: it is names that are mixed up."""
        return self.source.compare_keys(rows, columns)

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The source's path: between two names there is nothing to mix up."""
        return self.source.path(a, b)

    def _shuffled_names(self, names: Sequence[str]) -> dict[str, str]:
        """Who stands for whom: one round over all that are known, in an order that the seed and the names decide."""
        found = self.resolve_names(names)
        same: dict[Keys, list[str]] = {}
        for name in sorted(found):
            if (meaning := found[name]) is not None:
                same.setdefault(meaning.keys, []).append(name)
        seed = int(sha256_of(str(self.seed), repr(list(same.values())))[:16], 16)
        groups = list(same.values())
        order = [groups[n] for n in np.random.default_rng(seed).permutation(len(groups))]
        return {
            name: after[0]
            for group, after in zip(order, [*order[1:], *order[:1]], strict=True)
            for name in group
        }
