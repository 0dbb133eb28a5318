"""The similarity matrix that SAKE's authors ship, and two controls: no similarity, and shuffled names."""

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
    """A matrix of classes × ImageNet's 1,000 classes, which SAKE's authors computed from WordNet.

    Args:
        similarity: [classes, 1000], 0 to 1.
        classes: names of the rows.
        spec: the spec that it was loaded from.
    """

    def __init__(self, similarity: Float[Tensor, "classes 1000"], classes: Sequence[str], spec: str) -> None:
        self.table, self.spec = similarity, spec
        self.rows = {normalize_class_name(name): row for row, name in enumerate(classes)}

    def resolve_name(self, name: str) -> Resolution | None:
        """The row of a class, or the column of an ImageNet class (numbered after the rows)."""
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
            ConfigError: two data set classes, or two ImageNet classes, are compared: the matrix has no such entries.
        """
        count = len(self.rows)
        row, column = (torch.tensor([keys[0] for keys in side]) for side in (rows, columns))
        if (row >= count).any() or (column < count).any():
            raise ConfigError(
                f"'{self.spec}' compares classes with ImageNet's 1,000 classes only, not with each other",
                "Use wordnet, conceptnet:FILE or word vectors for that.",
            )
        return self.table[row[:, None], column - count]


def load_sake_matrix(path: str, spec: str) -> SakeMatrixSemantics:
    """Loads a matrix from an .npz file with `similarity` [classes, 1000] and `classes` [classes].

    Raises:
        DataError: the file is missing or no .npz file, or its arrays don't fit.
    """
    hint = "Expected: an .npz file with the arrays similarity [classes, 1000] and classes [classes]."
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
        raise DataError(f"{path}: the class '{twice}' occurs twice", hint)
    if table.shape != (len(classes), 1000):
        raise DataError(
            f"{path}: similarity is {list(table.shape)}, but there are {len(classes)} classes", hint
        )
    return SakeMatrixSemantics(torch.from_numpy(table).float(), classes, spec)


class NoSemantics(Semantics):
    """Knows every name, and gives all pairs similarity 0: the control without semantics."""

    spec = "none"

    def resolve_name(self, name: str) -> Resolution | None:
        """The name itself."""
        return Resolution(normalize_class_name(name), AS_IT_IS, (0,))

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Zeros."""
        return torch.zeros(len(rows), len(columns))


class ShuffledSemantics(Semantics):
    """Another source's similarities with its classes shuffled: the same values without their meaning.

    The row names are permuted, names with the same meaning together, so that none keeps its own similarities. Columns
    of the same names follow; other columns, such as ImageNet's, stay.

    Args:
        source: the source to shuffle.
        seed: of the permutation.
        spec: the spec that it was loaded from.
    """

    def __init__(self, source: Semantics, seed: int, spec: str) -> None:
        self.source, self.seed, self.spec = source, seed, spec

    def resolve_name(self, name: str) -> Resolution | None:
        """As the source resolves it."""
        return self.source.resolve_name(name)

    def similarity(self, a: Sequence[str], b: Sequence[str]) -> Float[Tensor, "a b"]:
        """The source's similarities of the shuffled names; 0 if one is unknown."""
        substitute = self._shuffled_names(a)
        shuffled = [[substitute.get(name, name) for name in names] for names in (a, b)]
        return self.source.similarity(*shuffled)

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """The source's values: only names are shuffled."""
        return self.source.compare_keys(rows, columns)

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The source's path: between two names there is nothing to shuffle."""
        return self.source.path(a, b)

    def _shuffled_names(self, names: Sequence[str]) -> dict[str, str]:
        """The substitute of each known name: the next in a cycle whose order depends on the seed and the names."""
        found = self.resolve_names(names)
        same: dict[Keys, list[str]] = {}
        for name in sorted(found):
            if (meaning := found[name]) is not None:
                same.setdefault(meaning.keys, []).append(name)
        seed = int(sha256_of(str(self.seed), repr(list(same.values())))[:16], 16)
        groups = list(same.values())
        order = [groups[n] for n in np.random.default_rng(seed).permutation(len(groups))]
        return {
            name: following[0]
            for group, following in zip(order, [*order[1:], *order[:1]], strict=True)
            for name in group
        }
