"""ConceptNet's graph, read from the official dump or from triples, and stored in a compact file.

A line of the dump is `assertion URI, relation, start, end, JSON`, separated by tabs; the JSON ends with the weight.
Only edges between two English concepts are kept; a concept's sense (`/c/en/seal/n/wn/animal`) is dropped.
"""

import gzip
import json
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.string_column import StringColumn
from ssl_sbir.errors import DataError
from ssl_sbir.files import cache_dir, sha256_of, write_atomic
from ssl_sbir.progress import show_progress
from ssl_sbir.semantics.concept_graph import MAX_RELATIONS, ConceptEdges, ConceptGraph

ENGLISH_URI_PREFIX = b"/c/en/"
GZIP_MAGIC = b"\x1f\x8b"
PROGRESS_INTERVAL = 1 << 16
CONCEPT_GRAPH_FORMAT = "ssl-sbir concept graph 1"
_DUMP_FORMAT_HINT = (
    "Expected conceptnet-assertions-5.*.csv.gz, or lines of relation, head, tail separated by tabs."
)


class _EdgeColumns:
    """Edges in the order of reading, in compact columns; each name is stored once."""

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.relations: dict[bytes, int] = {}
        self.head, self.tail = array("i"), array("i")
        self.relation, self.weight = array("B"), array("f")

    def append_edge(self, relation: bytes, head: bytes, tail: bytes, weight: float) -> None:
        """Appends an edge."""
        names, relations = self.names, self.relations
        if len(relations) == MAX_RELATIONS and relation not in relations:
            raise ValueError(f"more than {MAX_RELATIONS} relations: does each line begin with its relation?")
        self.head.append(names.setdefault(head, len(names)))
        self.tail.append(names.setdefault(tail, len(names)))
        self.relation.append(relations.setdefault(relation, len(relations)))
        self.weight.append(weight)

    def build_graph(self) -> ConceptGraph:
        """The graph, with its concepts in bytewise order."""
        labels = sorted(self.names)
        rank = np.empty(len(labels), np.int32)
        rank[np.fromiter((self.names[label] for label in labels), np.int64, len(labels))] = np.arange(
            len(labels), dtype=np.int32
        )
        edges = ConceptEdges(
            rank[np.frombuffer(self.head, np.int32)],
            rank[np.frombuffer(self.tail, np.int32)],
            np.frombuffer(self.relation, np.uint8),
            np.frombuffer(self.weight, np.float32),
        )
        texts = (label.decode("utf-8", "replace") for label in labels)
        return ConceptGraph(
            StringColumn.from_strings(texts), [name.decode() for name in self.relations], edges
        )


@dataclass(frozen=True)
class GraphConversion:
    """A converted graph, and the number of lines read."""

    graph: ConceptGraph
    lines: int

    def facts(self) -> dict[str, Any]:
        """Counts, JSON-able."""
        graph = self.graph
        return {
            "lines": self.lines,
            "concepts": len(graph),
            "edges": len(graph.edges),
            "relations": list(graph.relations),
        }


def read_graph(path: Path | str) -> GraphConversion:
    """The English part of a dump (plain or gzip) or of a file of triples, read in one pass.

    Memory grows with the number of English concepts (about 200 bytes each) and edges (13), not with the file.

    Raises:
        DataError: the file is missing, empty, truncated or of another format; names the line.
    """
    columns, lines = _EdgeColumns(), 0
    with _open_graph_lines(Path(path)) as (file, raw, size), show_progress(size, "reading", "B") as counter:
        read, seen = _choose_line_parser(path, file), 0
        try:
            for lines, line in enumerate(file, 1):
                read(columns, line, lines)
                if lines % PROGRESS_INTERVAL == 0:
                    now = raw.tell()
                    counter.advance(now - seen, lines=f"{lines:,}", edges=f"{len(columns.head):,}")
                    seen = now
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{path} is truncated after line {lines:,}: {error}",
                "Download it again; it is truncated or damaged.",
            ) from error
    if not columns.head:
        found = "is empty" if not lines else f"has {lines:,} lines, none of them between two English concepts"
        raise DataError(f"{path} {found}", _DUMP_FORMAT_HINT)
    return GraphConversion(columns.build_graph(), lines)


@contextmanager
def _open_graph_lines(path: Path) -> Iterator[tuple[Any, BinaryIO, int]]:
    """The lines of a file, plain or gzip; the raw file, whose position gives the progress; its size."""
    try:
        raw = open(path, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise DataError(f"{path} can't be opened: {error.strerror}", _DUMP_FORMAT_HINT) from error
    with raw:
        zipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        yield gzip.GzipFile(fileobj=raw) if zipped else raw, raw, path.stat().st_size


def _choose_line_parser(path: Path | str, file: Any) -> Any:
    """The parser for the lines of this file: a dump's first line begins with an assertion's URI."""
    try:
        start = file.peek(3)[:3]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated in its first line: {error}", "Download it again.") from error
    read = _parse_assertion_line if start == b"/a/" else _parse_triple_line

    def parse_checked_line(columns: _EdgeColumns, line: bytes, number: int) -> None:
        try:
            read(columns, line)
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{path}, line {number:,}: {line[:60].decode('utf-8', 'replace')!r} is not an edge ({error})",
                _DUMP_FORMAT_HINT,
            ) from error

    return parse_checked_line


def _parse_assertion_line(columns: _EdgeColumns, line: bytes) -> None:
    """A line of the official dump."""
    _, relation, head, tail, facts = line.split(b"\t", 4)
    if head.startswith(ENGLISH_URI_PREFIX) and tail.startswith(ENGLISH_URI_PREFIX):
        at = facts.rindex(b'"weight":') + 9
        weight = float(facts[at : facts.rindex(b"}")].split(b",", 1)[0])
        columns.append_edge(relation[3:], head.split(b"/", 4)[3], tail.split(b"/", 4)[3], weight)
    elif not facts.rstrip().endswith(b"}"):
        raise ValueError("the line is truncated")


def _parse_triple_line(columns: _EdgeColumns, line: bytes) -> None:
    """A line of relation, head, tail and an optional weight."""
    if not line.strip():
        return
    relation, head, tail, *rest = line.decode("utf-8").rstrip("\r\n").split("\t")
    if not (relation and head and tail):
        raise ValueError("a field is empty")
    weight = float(rest[0]) if rest else 1.0
    if head.startswith("/c/"):  # ConceptNet's URIs
        if not all(end.startswith(ENGLISH_URI_PREFIX.decode()) for end in (head, tail)):
            return
        relation, head, tail = relation.removeprefix("/r/"), head.split("/")[3], tail.split("/")[3]
    columns.append_edge(
        relation.encode(), normalize_class_name(head).encode(), normalize_class_name(tail).encode(), weight
    )


def save_graph(graph: ConceptGraph, path: Path) -> None:
    """Writes the compact file: safetensors with the columns of edges, and the names as one blob.

    Raises:
        SslSbirError: the file can't be written.
    """
    edges = graph.edges
    tensors = {
        "head": torch.from_numpy(edges.head.copy()),
        "tail": torch.from_numpy(edges.tail.copy()),
        "relation": torch.from_numpy(edges.relation.copy()),
        "weight": torch.from_numpy(edges.weight.copy()),
        "labels": torch.from_numpy(graph.labels.blob.copy()),
        "offsets": torch.from_numpy(graph.labels.offsets.copy()),
    }
    write_atomic(
        path, save(tensors, {"format": CONCEPT_GRAPH_FORMAT, "relations": json.dumps(graph.relations)})
    )


def load_graph(path: Path | str) -> ConceptGraph:
    """The graph of a compact file, a dump or a file of triples; the latter two are converted into the cache once.

    Raises:
        DataError: the file is missing, damaged or of another format.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _load_compact_graph(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}", _DUMP_FORMAT_HINT)
    facts = path.stat()
    key = sha256_of(CONCEPT_GRAPH_FORMAT, str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns))
    cached = cache_dir() / "graphs" / f"{path.name.split('.')[0]}-{key[:16]}.safetensors"
    if not cached.is_file():
        save_graph(read_graph(path).graph, cached)
    return _load_compact_graph(cached)


def _load_compact_graph(path: Path) -> ConceptGraph:
    hint = "Convert the dump again: ssl-sbir data conceptnet DUMP OUT."
    try:
        with safe_open(str(path), "pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != CONCEPT_GRAPH_FORMAT:
                raise DataError(f"{path} is not a concept graph of this version", hint)
            columns = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} can't be read: {error}", hint) from error
    labels = StringColumn(columns["labels"], columns["offsets"])
    edges = ConceptEdges(columns["head"], columns["tail"], columns["relation"], columns["weight"])
    return ConceptGraph(labels, json.loads(facts["relations"]), edges)
