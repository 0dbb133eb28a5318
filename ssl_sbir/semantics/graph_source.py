"""A graph of concepts as a source of class similarity."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.semantics.candidate_names import resolve_first_known
from ssl_sbir.semantics.concept_graph import ConceptGraph
from ssl_sbir.semantics.similarity_source import ConceptPath, Keys, Resolution, Semantics

GraphMeasure = Literal["path", "pagerank", "overlap"]


class GraphSemantics(Semantics):
    """Similarity in a graph by one of three measures (see `ConceptGraph`), and best paths.

    Args:
        graph: the concepts.
        spec: the spec that it was loaded from.
        measure: path, pagerank or overlap.
    """

    def __init__(self, graph: ConceptGraph, spec: str, measure: GraphMeasure = "path") -> None:
        self.graph, self.spec, self.measure = graph, spec, measure

    def resolve_name(self, name: str) -> Resolution | None:
        """The concept of the first spelling that is in the graph."""
        return resolve_first_known(name, self.graph.concept_index)

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Similarities by the measure; each pair of concepts is computed once."""
        flat_rows, flat_columns = (sorted({keys[0] for keys in side}) for side in (rows, columns))
        by_measure = {
            "path": self.graph.path_similarity,
            "pagerank": self.graph.pagerank_similarity,
            "overlap": self.graph.overlap_similarity,
        }
        values = torch.from_numpy(by_measure[self.measure](flat_rows, flat_columns).copy()).float()
        row_index, column_index = (
            torch.searchsorted(torch.tensor(flat), torch.tensor([keys[0] for keys in side]))
            for flat, side in ((flat_rows, rows), (flat_columns, columns))
        )
        return values[row_index[:, None], column_index]

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The best path, with the strongest relation for each step."""
        found = self.graph.best_path(self.keys_of(a)[0], self.keys_of(b)[0])
        if found is None:
            return None
        nodes, similarity = found
        steps = [self.graph.strongest_relation(*pair) for pair in pairwise(nodes)]
        return ConceptPath(
            tuple(self.graph.labels[node] for node in nodes),
            tuple(step[0] for step in steps),
            tuple(step[1] for step in steps),
            tuple(step[2] for step in steps),
            similarity,
        )
