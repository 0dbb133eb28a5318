"""ConceptNet's files: the dump against a slow reading, the compact file, and dumps that are broken."""

import gzip
import json

import numpy as np
import pytest

from ssl_sbir.errors import DataError
from ssl_sbir.semantics import load_semantics
from ssl_sbir.semantics.conceptnet import load_graph, read_graph, save_graph


def line(relation, start, end, weight, **more):
    facts = json.dumps({"dataset": "/d/test", **more, "weight": weight})
    return f"/a/[/r/{relation}/,{start}/,{end}/]\t/r/{relation}\t{start}\t{end}\t{facts}\n"


DUMP = (
    line("IsA", "/c/en/cow", "/c/en/mammal/n/wn/animal", 2.0)
    + line("IsA", "/c/en/horse/n", "/c/en/mammal", 1.0)
    + line("RelatedTo", "/c/fr/vache", "/c/en/cow", 1.0)
    + line("ExternalURL", "/c/en/cow", "http://example.org/cow", 1.0)
)


def edges(graph):
    return {
        (graph.relations[kind], graph.labels[int(head)], graph.labels[int(tail)], float(weight))
        for head, tail, kind, weight in zip(
            graph.edges.head, graph.edges.tail, graph.edges.relation, graph.edges.weight, strict=True
        )
    }


@pytest.mark.parametrize("zipped", [False, True])
def test_a_dump_keeps_english_edges_with_their_weights(tmp_path, zipped):
    file = tmp_path / ("dump.csv.gz" if zipped else "dump.csv")
    file.write_bytes(gzip.compress(DUMP.encode()) if zipped else DUMP.encode())
    found = read_graph(file)
    assert edges(found.graph) == {("IsA", "cow", "mammal", 2.0), ("IsA", "horse", "mammal", 1.0)}
    assert found.facts() == {"lines": 4, "concepts": 3, "edges": 2, "relations": ["IsA"]}


def test_the_sample_of_the_official_dump_equals_a_slow_reading(shared):
    file = shared / "conceptnet" / "assertions-5x-sample.csv"
    slow = set()
    for row in file.read_text("utf-8").splitlines():
        _, relation, start, end, facts = row.split("\t")
        if start.startswith("/c/en/") and end.startswith("/c/en/"):
            weight = float(np.float32(json.loads(facts)["weight"]))
            slow.add((relation[3:], start.split("/")[3], end.split("/")[3], weight))
    assert edges(read_graph(file).graph) == slow


def test_the_compact_file_holds_the_same_graph_and_no_pickle(tmp_path):
    (tmp_path / "dump.csv").write_text(DUMP)
    graph = load_graph(tmp_path / "dump.csv")
    save_graph(graph, tmp_path / "graph.safetensors")
    assert edges(load_graph(tmp_path / "graph.safetensors")) == edges(graph)
    source = load_semantics(f"conceptnet:{tmp_path / 'graph.safetensors'}")
    assert source.path("cow", "horse").in_words() == "cow —is a→ mammal ←is a— horse"


def test_triples_may_have_weights_and_names_of_several_words(tmp_path):
    (tmp_path / "t.tsv").write_text("IsA\tSea Lion\tmammal\nIsA\tcow\tmammal\t3.0\n\n")
    found = edges(read_graph(tmp_path / "t.tsv").graph)
    assert found == {("IsA", "sea_lion", "mammal", 1.0), ("IsA", "cow", "mammal", 3.0)}


def test_triples_may_be_written_as_conceptnet_does(tmp_path):
    (tmp_path / "t.tsv").write_text(
        "/r/IsA\t/c/en/sea_lion/n\t/c/en/mammal\n/r/IsA\t/c/fr/vache\t/c/en/mammal\n"
    )
    assert edges(read_graph(tmp_path / "t.tsv").graph) == {("IsA", "sea_lion", "mammal", 1.0)}


def test_real_triples_know_most_classes(shared):
    source = load_semantics(f"conceptnet-overlap:{shared}/conceptnet/conceptnet100k.tsv")
    words = (shared / "class-vectors" / "vocab_sketchy.txt").read_text().split()
    found = source.resolve_names(words)
    assert sum(meaning is not None for meaning in found.values()) >= 117
    assert str(found["pickup_truck"]).startswith(("pickup_truck", "truck (by its head noun"))
    values = source.similarity(["cat"], ["dog", "guitar"])[0]
    assert values[0] > values[1] > -1e-9


BROKEN = {
    "is empty": b"",
    "4 lines, none of them between two English": DUMP.replace("/c/en/", "/c/de/").encode(),
    r"line 5: .* is not an edge": DUMP.encode() + DUMP.encode()[:30],
    "is truncated after line": gzip.compress(DUMP.encode() * 3000)[:-20],
    "is truncated in its first line": gzip.compress(DUMP.encode())[:14],
    "line 1: 'one column' is not an edge": b"one column",
    r"line 257: .* is not an edge \(more than 256 relations": "".join(
        f"{n}\tIsA\tcow\n" for n in range(300)
    ).encode(),
    r"line 2: .* is not an edge": b"IsA\tcow\tmammal\nIsA\tcow\n",
}


@pytest.mark.parametrize("cause", BROKEN)
def test_a_broken_dump_is_named(tmp_path, cause):
    (tmp_path / "dump").write_bytes(BROKEN[cause])
    with pytest.raises(DataError, match=cause):
        read_graph(tmp_path / "dump")


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        load_graph(tmp_path / "none.csv")
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="can't be read"):
        load_graph(tmp_path / "x.safetensors")
