"""WordNet's nouns: path similarity, SAKE's rule, and paths over common hypernyms."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

AncestorDepths = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


class WordNetNouns:
    """The synsets of nouns, numbered in the order of `data.noun`.

    Attributes:
        offsets: byte offset of each of the n synsets, which is the number in its id ("n01440764").
        words: the lemmas of each synset, the main one first.
        parents: the hypernyms of each synset; for an instance (a city), the kinds it is an instance of.
        senses: for each lemma its synsets, the most frequent sense first.
    """

    def __init__(
        self,
        offsets: list[int],
        words: list[tuple[str, ...]],
        parents: list[tuple[int, ...]],
        senses: dict[str, tuple[int, ...]],
    ) -> None:
        self.offsets, self.words, self.parents, self.senses = offsets, words, parents, senses
        self._depths: dict[int, AncestorDepths] = {}

    @cached_property
    def index_by_offset(self) -> dict[int, int]:
        """From byte offset to number of the synset."""
        return {offset: number for number, offset in enumerate(self.offsets)}

    def find_synset(self, synset: str) -> int | None:
        """The number of the synset with an id such as "n01440764"; None if there is no such synset."""
        return self.index_by_offset.get(int(synset[1:9]))

    def describe_synset(self, number: int) -> str:
        """The id and first lemma of a synset: "n01440764 tench"."""
        return f"n{self.offsets[number]:08} {self.words[number][0]}"

    def ancestor_depths(self, number: int) -> AncestorDepths:
        """A synset and all its hypernyms, and the fewest steps up to each, [k] and [k]."""
        if number not in self._depths:
            depths, level, depth = {number: 0}, [number], 0
            while level:
                depth += 1
                level = [parent for one in level for parent in self.parents[one] if parent not in depths]
                depths.update(dict.fromkeys(level, depth))
            self._depths[number] = np.fromiter(depths, np.int64), np.fromiter(depths.values(), np.int64)
        return self._depths[number]

    def path_distances(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """The fewest steps between synsets, up to a common ancestor and down again; infinite without one.

        Args:
            rows: r synsets.
            columns: c synsets.

        Returns:
            [r, c].
        """
        column_depths = [self.ancestor_depths(column) for column in columns]
        above, steps = (np.concatenate(parts) for parts in zip(*column_depths, strict=True))
        starts = np.cumsum([0, *(len(ancestors) for ancestors, _ in column_depths[:-1])])
        distances = np.empty((len(rows), len(columns)))
        steps_up = np.full(len(self.offsets), np.inf)
        for index, row in enumerate(rows):
            ancestors, depth = self.ancestor_depths(row)
            steps_up[ancestors] = depth
            distances[index] = np.minimum.reduceat(steps_up[above] + steps, starts)
            steps_up[ancestors] = np.inf
        return distances

    def path_similarity(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """WordNet's path similarity, 1 / (1 + distance over the lowest common ancestor), [r, c]."""
        return 1 / (1 + self.path_distances(rows, columns))

    def hyponym_mask(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Whether one synset is the other or a hyponym of it, in either direction, [r, c]."""
        row_ancestors, column_ancestors = (
            [set(self.ancestor_depths(synset)[0].tolist()) for synset in side] for side in (rows, columns)
        )
        return np.array(
            [[row in above_column or column in above_row
              for column, above_column in zip(columns, column_ancestors, strict=True)]
             for row, above_row in zip(rows, row_ancestors, strict=True)]
        )  # fmt: skip

    def sake_similarity(self, rows: Sequence[int], columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """SAKE's similarity, [r, c]: 1 for hyponyms, else the path similarity if above .2, else 0."""
        path = self.path_similarity(rows, columns)
        return np.where(self.hyponym_mask(rows, columns), 1.0, np.where(path > 0.2, path, 0.0))

    def hypernym_path(self, a: int, b: int) -> tuple[list[int], list[int]]:
        """The synsets from `a` up to the nearest common ancestor, and those below it down to `b`."""
        depths_a, depths_b = (
            dict(zip(*(part.tolist() for part in self.ancestor_depths(end)), strict=True)) for end in (a, b)
        )
        common = min(
            depths_a.keys() & depths_b.keys(), key=lambda node: (depths_a[node] + depths_b[node], node)
        )
        to_a, to_b = [common], [common]
        for path, depths in ((to_a, depths_a), (to_b, depths_b)):
            while depths[path[-1]]:
                path.append(self._next_descendant(path[-1], depths))
        return to_a[::-1], to_b[1:]

    def _next_descendant(self, node: int, depths: dict[int, int]) -> int:
        """The first child of `node` that is one step nearer to the synset at depth 0."""
        return min(
            one for one, depth in depths.items() if depth == depths[node] - 1 and node in self.parents[one]
        )

    def to_networkx(self) -> Any:
        """The hypernym graph as a networkx.DiGraph of ids; edges lead from a synset to its hypernyms."""
        import networkx as nx

        names = [self.describe_synset(number).split()[0] for number in range(len(self.offsets))]
        graph: Any = nx.DiGraph()
        graph.add_nodes_from(names)
        graph.add_edges_from((names[n], names[up]) for n, ups in enumerate(self.parents) for up in ups)
        return graph
