"""A graph of concepts: three similarity measures and best paths, on sparse matrices; conversion to and from networkx."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.errors import DataError
from ssl_sbir.progress import show_progress
from ssl_sbir.semantics.relations import relation_of

FloatArray = npt.NDArray[np.float64]
# The search for paths stops at this similarity; below it, similarity counts as 0.
MIN_PATH_SIMILARITY = 1e-4
GRAPH_SEARCH_BLOCK = 16
MAX_RELATIONS = 256  # a byte each


@dataclass(frozen=True)
class ConceptEdges:
    """The edges of a graph as columns of equal length.

    Attributes:
        head: int32, index of the concept at which a relation starts.
        tail: int32, index of the concept to which it leads.
        relation: uint8, index of the relation.
        weight: float32, amount of evidence; 1 is one person's statement.
    """

    head: npt.NDArray[np.int32]
    tail: npt.NDArray[np.int32]
    relation: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.head)


class ConceptGraph:
    """Concepts and their relations.

    The strength of an edge is 1 − (1 − r)^weight, with r the strength of its relation (`relations.py`): r for one
    person's statement, more for each further one. Negated relations have strength 0.

    Args:
        labels: names of the n concepts, sorted bytewise.
        relations: names of the relations.
        edges: between concepts.
    """

    def __init__(self, labels: StringColumn, relations: Sequence[str], edges: ConceptEdges) -> None:
        self.labels, self.relations, self.edges = labels, tuple(relations), edges
        base = np.array([relation_of(name).strength for name in self.relations])
        self.edge_strength = 1 - (1 - base[edges.relation]) ** np.clip(edges.weight, 0, 8)
        self.edge_strength[edges.head == edges.tail] = 0

    def __len__(self) -> int:
        return len(self.labels)

    def concept_index(self, label: str) -> int | None:
        """The index of a concept; None if there is no concept of that name with an edge of positive strength."""
        at = bisect_left(self.labels, label.encode(), key=str.encode)
        there = at < len(self.labels) and self.labels[at] == label
        return at if there and self.node_degrees[at] else None

    @cached_property
    def adjacency_matrix(self) -> sparse.csr_array:
        """The strength of the strongest relation between each two concepts, in either direction, [n, n]."""
        keep = self.edge_strength > 0
        head, tail = self.edges.head[keep], self.edges.tail[keep]
        rows, columns = np.concatenate([head, tail]), np.concatenate([tail, head])
        values = np.tile(self.edge_strength[keep], 2)
        order = np.lexsort((-values, columns, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        shape = (len(self), len(self))
        return sparse.csr_array((values[first], (rows[first], columns[first])), shape=shape)

    @cached_property
    def node_degrees(self) -> npt.NDArray[np.int64]:
        """The number of neighbours of each concept, [n]."""
        return np.diff(self.adjacency_matrix.indptr).astype(np.int64)

    @cached_property
    def _half_degree_penalty(self) -> FloatArray:
        """Half the cost of passing through each concept, log(log2(2 + degree)) / 2, [n]."""
        return 0.5 * np.log(np.log2(2 + self.node_degrees))

    @cached_property
    def _edge_costs(self) -> sparse.csr_array:
        """−log strength of each edge plus half the penalty at both its ends; a path's own ends are subtracted later."""
        edges = self.adjacency_matrix.tocoo()
        cost = (
            -np.log(edges.data) + self._half_degree_penalty[edges.row] + self._half_degree_penalty[edges.col]
        )
        return sparse.csr_array((np.maximum(cost, 1e-9), (edges.row, edges.col)), shape=edges.shape)

    def path_similarity(self, rows: Sequence[int], columns: Sequence[int]) -> FloatArray:
        """The product of strengths along the best path, [r, c]; 1 for the same concept, 0 without a path.

        A path through a concept with many relations says little (nearly everything is an object), so each concept
        between the ends divides the product by log2(2 + its degree).
        """
        if len(rows) > len(columns):
            return self.path_similarity(columns, rows).T
        found = np.empty((len(rows), len(columns)))
        to = np.asarray(columns)
        with show_progress(len(rows), "paths", "names") as counter:
            for first in range(0, len(rows), GRAPH_SEARCH_BLOCK):
                block = np.asarray(rows[first : first + GRAPH_SEARCH_BLOCK])
                limit = (
                    -np.log(MIN_PATH_SIMILARITY)
                    + self._half_degree_penalty[block].max()
                    + self._half_degree_penalty[to].max()
                )
                cost = csgraph.dijkstra(self._edge_costs, directed=True, indices=block, limit=limit)[:, to]
                cost = cost - self._half_degree_penalty[block][:, None] - self._half_degree_penalty[to][None]
                found[first : first + GRAPH_SEARCH_BLOCK] = np.where(
                    block[:, None] == to, 1.0, np.exp(-np.maximum(cost, 0))
                )
                counter.advance(len(block))
        return found

    def pagerank_similarity(
        self, rows: Sequence[int], columns: Sequence[int], damping: float = 0.85, rounds: int = 60
    ) -> FloatArray:
        """Personalised PageRank, symmetrised and scaled to 0..1, [r, c].

        π_a(b) is the probability that a walk from a ends at b, if it continues with probability `damping` at each
        step and follows edges in proportion to their strengths. π_a(b) / s_b, with s the summed strengths, is
        symmetric; it is divided by the geometric mean of its values for (a, a) and (b, b).
        """
        strength = self.adjacency_matrix.sum(axis=1)
        step = sparse.csr_array(
            self.adjacency_matrix.multiply(1 / np.maximum(strength, 1e-12)[:, None])
        ).T.tocsr()
        nodes = sorted({*rows, *columns})
        index_by_node = {node: index for index, node in enumerate(nodes)}
        kernel = np.empty((len(nodes), len(nodes)))
        with show_progress(len(nodes), "walks", "names") as counter:
            for first in range(0, len(nodes), GRAPH_SEARCH_BLOCK):
                block = nodes[first : first + GRAPH_SEARCH_BLOCK]
                start = np.zeros((len(self), len(block)))
                start[block, range(len(block))] = 1
                walk = start
                for _ in range(rounds):
                    walk = (1 - damping) * start + damping * (step @ walk)
                kernel[:, first : first + len(block)] = walk[nodes] / strength[nodes][:, None]
                counter.advance(len(block))
        scale = np.sqrt(np.diagonal(kernel))
        a, b = ([index_by_node[node] for node in side] for side in (rows, columns))
        return np.clip(kernel[np.ix_(a, b)] / (scale[a][:, None] * scale[b][None]), 0, 1)

    def overlap_similarity(self, rows: Sequence[int], columns: Sequence[int]) -> FloatArray:
        """Jaccard similarity of the sets of neighbours, each concept included in its own set, [r, c]."""
        own, other = (self._neighbor_matrix(side) for side in (rows, columns))
        shared = (own @ other.T).toarray()
        counts = own.sum(axis=1)[:, None] + other.sum(axis=1)[None] - shared
        return shared / counts

    def _neighbor_matrix(self, nodes: Sequence[int]) -> sparse.csr_array:
        near = self.adjacency_matrix[list(nodes)].astype(bool).astype(np.float64)
        itself = sparse.csr_array(
            (np.ones(len(nodes)), (range(len(nodes)), list(nodes))), shape=(len(nodes), len(self))
        )
        return sparse.csr_array(near + itself)

    def best_path(self, a: int, b: int) -> tuple[list[int], float] | None:
        """The concepts of the best path and its similarity (see `path_similarity`); None without a path."""
        if a == b:
            return [a], 1.0
        limit = -np.log(MIN_PATH_SIMILARITY) + self._half_degree_penalty[a] + self._half_degree_penalty[b]
        cost, before = csgraph.dijkstra(
            self._edge_costs, directed=True, indices=a, limit=limit, return_predecessors=True
        )
        if not np.isfinite(cost[b]):
            return None
        nodes = [b]
        while nodes[-1] != a:
            nodes.append(int(before[nodes[-1]]))
        return nodes[::-1], float(
            np.exp(-max(cost[b] - self._half_degree_penalty[a] - self._half_degree_penalty[b], 0))
        )

    def strongest_relation(self, a: int, b: int) -> tuple[str, int, float]:
        """The strongest relation between two concepts: in words, its direction (1: a → b, else -1), its strength."""
        head, tail = self.edges.head, self.edges.tail
        here = np.flatnonzero(((head == a) & (tail == b)) | ((head == b) & (tail == a)))
        best = here[self.edge_strength[here].argmax()]
        words = relation_of(self.relations[self.edges.relation[best]]).words
        return words, 1 if head[best] == a else -1, float(self.edge_strength[best])

    def to_networkx(self) -> Any:
        """The graph as a networkx.MultiDiGraph; edges have `relation` and `weight`."""
        import networkx as nx

        graph: Any = nx.MultiDiGraph()
        graph.add_nodes_from(self.labels)
        edges, relations = self.edges, self.relations
        columns = (column.tolist() for column in (edges.head, edges.tail, edges.relation, edges.weight))
        for head, tail, relation, weight in zip(*columns, strict=True):
            graph.add_edge(self.labels[head], self.labels[tail], relation=relations[relation], weight=weight)
        return graph

    @classmethod
    def from_networkx(cls, graph: Any) -> "ConceptGraph":
        """The graph of a networkx graph whose edges may have `relation` (else RelatedTo) and `weight` (else 1)."""
        return cls.from_triples(
            (facts.get("relation", "RelatedTo"), str(head), str(tail), float(facts.get("weight", 1.0)))
            for head, tail, facts in graph.edges(data=True)
        )

    @classmethod
    def from_triples(cls, triples: Any) -> "ConceptGraph":
        """The graph of tuples (relation, head, tail, weight).

        Raises:
            DataError: there are more than 256 relations.
        """
        heads, tails, kinds, weights = [], [], [], []
        for relation, head, tail, weight in triples:
            heads.append(normalize_class_name(head))
            tails.append(normalize_class_name(tail))
            kinds.append(relation)
            weights.append(weight)
        labels, relations = sorted({*heads, *tails}, key=str.encode), sorted(set(kinds))
        if len(relations) > MAX_RELATIONS:
            raise DataError(f"{len(relations)} different relations", f"At most {MAX_RELATIONS} are possible.")
        node, kind = ({name: n for n, name in enumerate(names)} for names in (labels, relations))
        edges = ConceptEdges(
            np.array([node[name] for name in heads], np.int32),
            np.array([node[name] for name in tails], np.int32),
            np.array([kind[name] for name in kinds], np.uint8),
            np.array(weights, np.float32),
        )
        return cls(StringColumn.from_strings(labels), relations, edges)
