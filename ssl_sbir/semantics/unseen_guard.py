"""Keeps sources of semantics from telling a training run anything about its unseen classes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.errors import ConfigError
from ssl_sbir.semantics.class_spelling import head_noun, singular_forms, strip_brackets, synset_id

MAX_NAME_WORDS = 4  # a class name may be spelt as several words: "hot dog" and "hot-dog" for hotdog
_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s\b")
_forbidden_names: ContextVar[frozenset[str]] = ContextVar("unseen", default=frozenset())


@contextmanager
def forbid_unseen_classes(unseen: Iterable[str]) -> Iterator[None]:
    """Within the block every source refuses these class names in every spelling.

    Spellings differ in case, as one word or several, with or without brackets, and in the plural. A name whose head noun
    is one of these classes (a racing car, for car) becomes unknown.

    ImageNet's names carry their WordNet ids and are never refused: they belong to the teacher, and the evaluation
    reports what the teacher knows of unseen classes.
    """
    token = _forbidden_names.set(frozenset(normalize_class_name(name) for name in unseen))
    try:
        yield
    finally:
        _forbidden_names.reset(token)


def check_no_unseen_names(names: Sequence[str], spec: str) -> None:
    """Raises an error if a run is training and a name is that of one of its unseen classes.

    Raises:
        ConfigError: names the class and the source.
    """
    for name in names:
        if (unseen := _matching_unseen_class(name)) is not None:
            also = "" if unseen == normalize_class_name(name) else f", spelt '{unseen}',"
            raise ConfigError(
                f"'{name}' is an unseen class{also}: '{spec}' may not be used for it during training",
                "Use names of seen classes only, or do it after training.",
            )


def head_is_unseen(name: str) -> bool:
    """Whether a run is training and the head noun of a name is one of its unseen classes."""
    head = head_noun(strip_brackets(name))
    return bool(_forbidden_names.get().intersection((head, *singular_forms(head))))


def mentions_unseen_class(text: str) -> bool:
    """Whether a run is training and a text contains the name of one of its unseen classes."""
    unseen = _unseen_spellings(_forbidden_names.get())
    if not unseen:
        return False
    words = _WORD.findall(_POSSESSIVE.sub("", normalize_class_name(text)))
    runs = (
        words[start:end]
        for end in range(1, len(words) + 1)
        for start in range(max(0, end - MAX_NAME_WORDS), end)
    )
    return any(_spelling_forms("_".join(run)) & unseen for run in runs)


@lru_cache(maxsize=4)
def _unseen_spellings(names: frozenset[str]) -> frozenset[str]:
    return frozenset().union(
        *(_spelling_forms(name) | _spelling_forms(strip_brackets(name)) for name in names)
    )


def _matching_unseen_class(name: str) -> str | None:
    """The unseen class of which a name is a spelling."""
    unseen, whole = _forbidden_names.get(), normalize_class_name(name)
    if not unseen or synset_id(name) is not None:
        return None
    forms = _spelling_forms(whole) | _spelling_forms(strip_brackets(whole))
    has_brackets = strip_brackets(whole) != whole
    for other in sorted(unseen):
        other_forms = _spelling_forms(other)
        if not has_brackets:  # a crane (bird) is no crane (machine)
            other_forms |= _spelling_forms(strip_brackets(other))
        if forms & other_forms:
            return other
    return None


def _spelling_forms(name: str) -> set[str]:
    """A name and its possible singulars, letters and digits only."""
    return {"".join(_WORD.findall(form)) for form in (name, *singular_forms(name))} - {""}
