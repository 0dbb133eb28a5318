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
    """Similarity in a graph, by one of three measures (see `ConceptGraph`), and its best paths.

    Args:
        graph: the concepts.
        spec: what it was loaded from.
        measure: path, pagerank or overlap.
    """

    def __init__(self, graph: ConceptGraph, spec: str, measure: GraphMeasure = "path") -> None:
        self.graph, self.spec, self.measure = graph, spec, measure

    def resolve_name(self, name: str) -> Resolution | None:
        """The concept of the first spelling that the graph knows."""
        return resolve_first_known(name, self.graph.concept_index)

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Similarities by the measure, each pair of concepts computed once."""
        flat_rows, flat_columns = (sorted({keys[0] for keys in side}) for side in (rows, columns))
        by_measure = {
            "path": self.graph.path_similarity,
            "pagerank": self.graph.pagerank_similarity,
            "overlap": self.graph.overlap_similarity,
        }
        values = torch.from_numpy(by_measure[self.measure](flat_rows, flat_columns).copy()).float()
        own, other = (
            {node: number for number, node in enumerate(flat)} for flat in (flat_rows, flat_columns)
        )
        places = torch.tensor([own[k[0]] for k in rows]), torch.tensor([other[k[0]] for k in columns])
        return values[places[0][:, None], places[1]]

    def path(self, a: str, b: str) -> ConceptPath | None:
        """The best path, each step by the strongest of its relations."""
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
