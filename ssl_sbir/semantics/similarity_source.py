"""The interface of all sources of class similarity: resolving names, comparing them, and paths between them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.errors import SslSbirError
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics.unseen_guard import check_no_unseen_names, head_is_unseen

Keys = tuple[int, ...]


@dataclass(frozen=True)
class Resolution:
    """What a source takes a name to mean.

    Attributes:
        matched_name: the word, synset or row that was found for the name.
        match_step: how the spelling differs; "as it is" if it doesn't.
        keys: indices of the matches in the source.
    """

    matched_name: str
    match_step: str
    keys: Keys

    def __str__(self) -> str:
        return self.matched_name if self.is_exact else f"{self.matched_name} ({self.match_step})"

    @property
    def is_exact(self) -> bool:
        """Whether the name itself was known."""
        return self.match_step == AS_IT_IS


AS_IT_IS, HEAD_NOUN = "as it is", "by its head noun"


@dataclass(frozen=True)
class ConceptPath:
    """The best path between two concepts of a graph.

    Attributes:
        nodes: n + 1 concepts from one end to the other.
        relations: n relations in words ("is a").
        directions: 1 for a relation from the previous node to the next, -1 for one in the other direction.
        weights: the strength of each relation, 0 to 1; None if the graph has no weights.
        similarity: of the two end nodes, 0 to 1.
    """

    nodes: tuple[str, ...]
    relations: tuple[str, ...]
    directions: tuple[int, ...]
    weights: tuple[float, ...] | None
    similarity: float

    def in_words(self) -> str:
        """The path as one line.

        >>> ConceptPath(("cow", "mammal", "horse"), ("is a", "is a"), (1, -1), None, 1 / 3).in_words()
        'cow —is a→ mammal ←is a— horse'
        """
        words = self.nodes[0].replace("_", " ")
        for node, relation, direction in zip(self.nodes[1:], self.relations, self.directions, strict=True):
            arrow = f"—{relation}→" if direction > 0 else f"←{relation}—"
            words += f" {arrow} {node.replace('_', ' ')}"
        return words


class Semantics(ABC):
    """A source of class similarity.

    Attributes:
        spec: the spec that it was loaded from.
    """

    spec: str

    @abstractmethod
    def resolve_name(self, name: str) -> Resolution | None:
        """What a name means; None if it is unknown. Call `resolve_names`, which refuses unseen classes."""

    @abstractmethod
    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """The similarities of resolved names, 0 to 1."""

    def resolve_names(self, names: Sequence[str]) -> dict[str, Resolution | None]:
        """What each name means; None for an unknown one.

        Raises:
            ConfigError: a name is that of an unseen class and a run is training.
        """
        check_no_unseen_names(names, self.spec)
        return {name: self._resolve_guarded_name(name) for name in dict.fromkeys(names)}

    def _resolve_guarded_name(self, name: str) -> Resolution | None:
        found = self.resolve_name(name)
        return None if found and HEAD_NOUN in found.match_step and head_is_unseen(name) else found

    def similarity(self, a: Sequence[str], b: Sequence[str]) -> Float[Tensor, "a b"]:
        """The similarity of each name in `a` to each in `b`, 0 to 1; 0 if one of the two is unknown.

        Raises:
            ConfigError: a name is that of an unseen class and a run is training.
        """
        found = self.resolve_names([*a, *b])
        rows, columns = (known_keys(names, found) for names in (a, b))
        table = torch.zeros(len(a), len(b))
        if rows and columns:
            values = self.compare_keys(list(rows.values()), list(columns.values()))
            table[torch.tensor(list(rows))[:, None], torch.tensor(list(columns))] = values.float()
        return table

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The best path between two names; None if there is none.

        Raises:
            SslSbirError: the source has no paths, or a name is unknown.
        """
        del a, b
        raise SslSbirError(
            f"'{self.spec}' has no paths between names, only similarities",
            "For paths use a graph: wordnet, or conceptnet:FILE.",
        )

    def keys_of(self, name: str, known: Sequence[str] = ()) -> Keys:
        """The keys of a name.

        Raises:
            SslSbirError: it is unknown.
        """
        found = self.resolve_names([name])[name]
        if found is None:
            raise SslSbirError(
                f"'{self.spec}' doesn't know '{name}'.{did_you_mean(name, known)}", "Try a simpler word."
            )
        return found.keys


def describe_resolutions(resolutions: Mapping[str, Any], max_names: int = 6) -> list[str]:
    """One line about names that were replaced, and one about unknown names; empty if all were known as they are.

    Args:
        resolutions: as `Semantics.resolve_names` returns them.
        max_names: maximum number of names in a line.
    """
    others = {name: it for name, it in resolutions.items() if isinstance(it, Resolution) and not it.is_exact}
    missing = [name for name, it in resolutions.items() if it is None]
    lines = []
    if others:
        parts = [f"{name} → {it}" for name, it in list(others.items())[:max_names]]
        more = f"; and {len(others) - max_names} more" if len(others) > max_names else ""
        lines.append(f"{len(others)} of {len(resolutions)} names were replaced: {'; '.join(parts)}{more}")
    if missing:
        more = " …" if len(missing) > max_names else ""
        lines.append(
            f"{len(missing)} of {len(resolutions)} names are unknown: {', '.join(missing[:max_names])}{more}"
        )
    return lines


def known_keys(names: Sequence[str], resolutions: Mapping[str, Resolution | None]) -> dict[int, Keys]:
    """The keys of each known name, by its index among the names."""
    return {index: found.keys for index, name in enumerate(names) if (found := resolutions[name]) is not None}
