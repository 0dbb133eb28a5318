"""From a spec to a source of class similarity."""

from collections.abc import Callable
from functools import lru_cache

from ssl_sbir.encoders.word_vector_files import load_packaged_glove, read_word_vectors
from ssl_sbir.errors import ConfigError
from ssl_sbir.registry import did_you_mean
from ssl_sbir.semantics.conceptnet import load_graph
from ssl_sbir.semantics.graph_source import GraphMeasure, GraphSemantics
from ssl_sbir.semantics.sentence_source import load_sentences
from ssl_sbir.semantics.shipped_matrices import NoSemantics, ShuffledSemantics, load_sake_matrix
from ssl_sbir.semantics.similarity_source import Semantics
from ssl_sbir.semantics.word_vector_source import WordVectorSemantics
from ssl_sbir.semantics.wordnet_files import load_nouns
from ssl_sbir.semantics.wordnet_source import WordNetRule, WordNetSemantics

# kind → what it is, and what follows the colon ("": nothing, "[X]": optional, "X": required).
SEMANTICS_KINDS = {
    "wordnet": ("WordNet by SAKE's rule, repaired", "[DICT]"),
    "wordnet-path": ("WordNet's plain path similarity", "[DICT]"),
    "sake-shipped": ("the matrix that SAKE's authors ship", "FILE.npz"),
    "conceptnet": ("ConceptNet: best path by the strengths of relations", "FILE"),
    "conceptnet-pagerank": ("ConceptNet: personalised PageRank", "FILE"),
    "conceptnet-overlap": ("ConceptNet: shared neighbours", "FILE"),
    "vectors": ("word vectors: GloVe, word2vec, fastText, Numberbatch, .npy", "FILE"),
    "glove": ("GloVe, 50 dimensions, from a package", ""),
    "sentences": ("vectors of a sentence encoder: minilm, hf:NAME or a folder", "[ENCODER]"),
    "shuffled": ("another source with its classes shuffled, as a control", "[SEED:]SPEC"),
    "none": ("no similarity, as a control", ""),
}
_WORDNET_RULES: dict[str, WordNetRule] = {"wordnet": "repaired", "wordnet-path": "path"}
_GRAPH_MEASURES: dict[str, GraphMeasure] = {
    "conceptnet": "path",
    "conceptnet-pagerank": "pagerank",
    "conceptnet-overlap": "overlap",
}


@lru_cache(maxsize=8)
def load_semantics(spec: str) -> Semantics:
    """The source that a spec names, such as "wordnet", "conceptnet:FILE", "glove" or "shuffled:wordnet".

    Args:
        spec: KIND or KIND:WHERE, with a kind of `SEMANTICS_KINDS`.

    Raises:
        ConfigError: the kind is unknown, or the part after the colon is missing or not allowed.
        DataError: a file is missing or damaged.
    """
    kind, _, where = spec.partition(":")
    if kind not in SEMANTICS_KINDS:
        raise ConfigError(
            f"unknown source of semantics '{kind}'.{did_you_mean(kind, SEMANTICS_KINDS)}",
            f"Known: {', '.join(_spec_usage(name) for name in SEMANTICS_KINDS)}.",
        )
    wants = SEMANTICS_KINDS[kind][1]
    if (bool(where) and not wants) or (not where and wants and not _is_optional(wants)):
        raise ConfigError(f"semantics = '{spec}': write {_spec_usage(kind)}", f"{SEMANTICS_KINDS[kind][0]}.")
    return _source_loader(kind)(where, spec)


def _spec_usage(kind: str) -> str:
    wants = SEMANTICS_KINDS[kind][1]
    if _is_optional(wants):
        return f"{kind}[:{wants[1:]}"
    return f"{kind}:{wants}" if wants else kind


def _is_optional(wants: str) -> bool:
    return wants.startswith("[") and wants.endswith("]")


def _source_loader(kind: str) -> Callable[[str, str], Semantics]:
    if kind in _WORDNET_RULES:
        return lambda where, spec: WordNetSemantics(load_nouns(where or None), spec, _WORDNET_RULES[kind])
    if kind in _GRAPH_MEASURES:
        return lambda where, spec: GraphSemantics(load_graph(where), spec, _GRAPH_MEASURES[kind])
    return {
        "sake-shipped": load_sake_matrix,
        "vectors": lambda where, spec: WordVectorSemantics(read_word_vectors(where), spec),
        "glove": lambda _, spec: WordVectorSemantics(load_packaged_glove(), spec),
        "sentences": load_sentences,
        "shuffled": _load_shuffled,
        "none": lambda *_: NoSemantics(),
    }[kind]


def _load_shuffled(where: str, spec: str) -> Semantics:
    seed, _, rest = where.partition(":")
    if seed.isdigit():
        return ShuffledSemantics(load_semantics(rest), int(seed), spec)
    return ShuffledSemantics(load_semantics(where), 0, spec)
