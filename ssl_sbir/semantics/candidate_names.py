"""The spellings under which a source may know a class name, in a fixed order, and ImageNet's class names.

The order: the name as it is; the table `names.json` (written by hand, for the published splits); the name without
brackets; spelt as one word or with hyphens; in the singular; its head noun (the last word, or the last one before a
preposition); the head noun in the singular. The first spelling that a source knows is used.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.semantics.class_spelling import (
    head_noun,
    singular_forms,
    strip_brackets,
    strip_synset_id,
    synset_id,
)
from ssl_sbir.semantics.similarity_source import AS_IT_IS, HEAD_NOUN, Resolution


@cache
def imagenet_names() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of a classifier's outputs, such as "tench [n01440764]".

    The id distinguishes classes of the same name (two cranes), and a data set's class (mouse, the animal) from
    ImageNet's (mouse, the device).
    """
    return tuple(f"{words[0]} [{synset}]" for synset, words in imagenet_words().items())


@cache
def imagenet_words() -> dict[str, tuple[str, ...]]:
    """The words of each of ImageNet's WordNet ids, the main one first, in the order of a classifier's outputs."""
    info = ImageNetInfo()
    descriptions = (info.index_to_description(index).split(",") for index in range(info.num_classes()))
    return {
        synset: tuple(word.strip() for word in words)
        for synset, words in zip(info.label_names(), descriptions, strict=True)
    }


@cache
def imagenet_ids() -> dict[str, int]:
    """From each of ImageNet's WordNet ids to the index of its class."""
    return {synset: index for index, synset in enumerate(imagenet_words())}


@cache
def class_table() -> dict[str, dict[str, Any]]:
    """The hand-written table of the published splits' class names: synsets, a simpler word, and the reason."""
    return json.loads((files("ssl_sbir.semantics") / "names.json").read_text("utf-8"))


def candidate_spellings(name: str) -> Iterator[tuple[str, str]]:
    """The spellings to look a name up by, best first, each with the step that it comes from."""
    synset = synset_id(name)
    if synset is not None:
        yield from _imagenet_spellings(name, synset)
        return
    whole = normalize_class_name(name)
    yield whole, AS_IT_IS
    if word := class_table().get(whole, {}).get("word"):
        yield word, "by the table"
    if strip_brackets(whole) != whole:
        yield strip_brackets(whole), "without brackets"
    yield from _fallback_spellings(strip_brackets(whole))


def _imagenet_spellings(name: str, synset: str) -> Iterator[tuple[str, str]]:
    """The words of an ImageNet class: the table's, then the lemmas of its synset in order."""
    if word := class_table().get(synset, {}).get("word"):
        yield word, "by the table"
    words = imagenet_words().get(synset) or (strip_synset_id(name),)
    lemmas = [normalize_class_name(word) for word in words]
    for number, lemma in enumerate(lemmas):
        yield lemma, "as another word" if number else AS_IT_IS
    for lemma in lemmas:
        yield from _fallback_spellings(lemma)


def _fallback_spellings(name: str) -> Iterator[tuple[str, str]]:
    if "_" in name:
        yield name.replace("_", ""), "as one word"
        yield name.replace("_", "-"), "with hyphens"
    for one in singular_forms(name):
        yield one, "in the singular"
    head = head_noun(name)
    if head != name:
        yield head, HEAD_NOUN
        for one in singular_forms(head):
            yield one, f"{HEAD_NOUN} in the singular"


def resolve_first_known(name: str, key_of: Callable[[str], int | None]) -> Resolution | None:
    """The first spelling of a name for which a source has a key; None if it has none."""
    for word, how in candidate_spellings(name):
        key = key_of(word)
        if key is not None:
            return Resolution(word, how, (key,))
    return None
