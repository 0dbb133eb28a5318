"""From a spec to a source of class similarity."""

from collections.abc import Callable
from functools import lru_cache

from ssl_sbir.data.word_vectors import packaged_glove, read_words
from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics.conceptnet import load_graph
from ssl_sbir.semantics.graph_source import Graph, Measure
from ssl_sbir.semantics.sentences import load_sentences
from ssl_sbir.semantics.shipped import Nothing, Shuffled, load_shipped
from ssl_sbir.semantics.source import Semantics
from ssl_sbir.semantics.vectors import WordVectors
from ssl_sbir.semantics.wordnet import load_nouns
from ssl_sbir.semantics.wordnet_source import Rule, WordNet

# kind → what it is, and what stands behind the colon ("" nothing, "[X]" may be left out, "X" must be there).
KINDS = {
    "wordnet": ("WordNet by SAKE's rule, repaired", "[DICT]"),
    "wordnet-path": ("WordNet's plain path similarity", "[DICT]"),
    "sake-shipped": ("the matrix that SAKE's authors ship", "FILE.npz"),
    "conceptnet": ("ConceptNet: best path by the strengths of relations", "FILE"),
    "conceptnet-pagerank": ("ConceptNet: personalised PageRank", "FILE"),
    "conceptnet-overlap": ("ConceptNet: shared neighbours", "FILE"),
    "vectors": ("word vectors: GloVe, word2vec, fastText, Numberbatch, .npy", "FILE"),
    "glove": ("GloVe, 50 wide, out of a package", ""),
    "sentences": ("a sentence encoder reads the names: minilm, hf:NAME or a folder", "[ENCODER]"),
    "shuffled": ("another source with its classes mixed up, as a control", "[SEED:]SPEC"),
    "none": ("no similarity at all, as a control", ""),
}
_RULES: dict[str, Rule] = {"wordnet": "repaired", "wordnet-path": "path"}
_MEASURES: dict[str, Measure] = {
    "conceptnet": "path",
    "conceptnet-pagerank": "pagerank",
    "conceptnet-overlap": "overlap",
}


@lru_cache(maxsize=8)
def load_semantics(spec: str) -> Semantics:
    """The source that a spec names, such as "wordnet", "conceptnet:FILE", "glove" or "shuffled:wordnet".

    Args:
        spec: KIND or KIND:WHERE, with a kind of `KINDS`.

    Raises:
        ConfigError: the kind is unknown, or what stands behind the colon is missing or too much.
        DataError: a file is missing or broken.
    """
    kind, _, where = spec.partition(":")
    if kind not in KINDS:
        raise ConfigError(
            f"unknown source of semantics '{kind}'.{did_you_mean(kind, KINDS)}",
            f"There are {', '.join(_usage(name) for name in KINDS)}.",
        )
    wants = KINDS[kind][1]
    if (bool(where) and not wants) or (not where and wants and not _optional(wants)):
        raise ConfigError(f"semantics = '{spec}': write {_usage(kind)}", f"{KINDS[kind][0]}.")
    return _loader(kind)(where, spec)


def _usage(kind: str) -> str:
    wants = KINDS[kind][1]
    if _optional(wants):
        return f"{kind}[:{wants[1:]}"
    return f"{kind}:{wants}" if wants else kind


def _optional(wants: str) -> bool:
    return wants.startswith("[") and wants.endswith("]")


def _loader(kind: str) -> Callable[[str, str], Semantics]:
    if kind in _RULES:
        return lambda where, spec: WordNet(load_nouns(where or None), spec, _RULES[kind])
    if kind in _MEASURES:
        return lambda where, spec: Graph(load_graph(where), spec, _MEASURES[kind])
    return {
        "sake-shipped": load_shipped,
        "vectors": lambda where, spec: WordVectors(read_words(where), spec),
        "glove": lambda _, spec: WordVectors(packaged_glove(), spec),
        "sentences": load_sentences,
        "shuffled": _shuffled,
        "none": lambda *_: Nothing(),
    }[kind]


def _shuffled(where: str, spec: str) -> Semantics:
    seed, _, rest = where.partition(":")
    if seed.isdigit():
        return Shuffled(load_semantics(rest), int(seed), spec)
    return Shuffled(load_semantics(where), 0, spec)
