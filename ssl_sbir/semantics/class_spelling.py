"""Spellings of a class name: without brackets or id, in the singular, its head noun."""

import re

from ssl_sbir.data.class_names import normalize_class_name

_BRACKET = re.compile(r"_*\([^)]*\)")
_SYNSET = re.compile(r"\[(n\d{8})\]$")
_PREPOSITIONS = frozenset(("with", "of", "in", "on", "for", "from", "at", "without", "to"))
_PLURALS = (("ches", "ch"), ("shes", "sh"), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ies", "y"),
            ("ves", "f"), ("ves", "fe"), ("men", "man"), ("s", ""))  # fmt: skip
_IRREGULAR = {"mice": "mouse", "lice": "louse", "geese": "goose", "teeth": "tooth", "feet": "foot", "children": "child",
              "oxen": "ox", "dice": "die", "cacti": "cactus", "octopi": "octopus", "hippopotami": "hippopotamus",
              "people": "person"}  # fmt: skip
_NEVER_PLURAL = ("ss", "us", "is")


def synset_id(name: str) -> str | None:
    """The WordNet id in a name ("crane [n02012849]"); None without one."""
    found = _SYNSET.search(name)
    return found[1] if found else None


def strip_synset_id(name: str) -> str:
    """A name without its WordNet id, if it has one."""
    return _SYNSET.sub("", name)


def strip_brackets(name: str) -> str:
    """A name without brackets and what they contain.

    >>> strip_brackets("crane_(machine)")
    'crane'
    """
    return _BRACKET.sub("", normalize_class_name(name))


def head_noun(name: str) -> str:
    """The last word of a name, or the last one before a preposition.

    >>> head_noun("pickup_truck"), head_noun("flower_with_stem")
    ('truck', 'flower')
    """
    words = name.split("_")
    for index, word in enumerate(words):
        if index and word in _PREPOSITIONS:
            return words[index - 1]
    return words[-1]


def singular_forms(word: str) -> list[str]:
    """Words that this word may be the plural of, by the rules of WordNet's lemmatiser and the commonest exceptions.

    >>> singular_forms("cherries"), singular_forms("glass")
    (['cherry', 'cherrie'], [])
    """
    if word.endswith(_NEVER_PLURAL):
        return []
    start, _, last = word.rpartition("_")
    if last in _IRREGULAR:
        return [f"{start}_{_IRREGULAR[last]}" if start else _IRREGULAR[last]]
    return [word.removesuffix(end) + one for end, one in _PLURALS if word.endswith(end) and len(word) > 3]
