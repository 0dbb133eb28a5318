"""No source of meaning tells a training run anything about its unseen classes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.errors import ConfigError
from ssl_sbir.semantics.class_spelling import head_noun, singular_forms, strip_brackets, synset_id

MAX_NAME_WORDS = 4  # words of a class name: "hot dog" and "hot-dog" are a hotdog
_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s\b")
_forbidden_names: ContextVar[frozenset[str]] = ContextVar("unseen", default=frozenset())


@contextmanager
def forbid_unseen_classes(unseen: Iterable[str]) -> Iterator[None]:
    """Within the block every source refuses these class names, whoever asks and however they are spelt.

    That is in any case, as one word, with or without what stands in brackets, or in the plural. What falls back on
    one of them as its head noun (a racing car on a car) is unknown.

    ImageNet's names are no class names (they carry their WordNet ids) and are never refused: what a teacher knows
    of unseen classes is a matter of the teacher, which the evaluation reports.
    """
    token = _forbidden_names.set(frozenset(normalize_class_name(name) for name in unseen))
    try:
        yield
    finally:
        _forbidden_names.reset(token)


def check_no_unseen_names(names: Sequence[str], spec: str) -> None:
    """Raises where a run is training and a name is that of one of its unseen classes.

    Raises:
        ConfigError: names the class and the source that was asked.
    """
    for name in names:
        if (unseen := _matching_unseen_class(name)) is not None:
            also = "" if unseen == normalize_class_name(name) else f", spelt '{unseen}',"
            raise ConfigError(
                f"'{name}' is an unseen class{also}: '{spec}' may not be asked about it while training",
                "Ask about seen classes only, or after training.",
            )


def head_is_unseen(name: str) -> bool:
    """Whether a run is training and the head noun of a name is one of its unseen classes."""
    head = head_noun(strip_brackets(name))
    return bool(_forbidden_names.get().intersection((head, *singular_forms(head))))


def mentions_unseen_class(text: str) -> bool:
    """Whether a run is training and a text has the name of one of its unseen classes among its words."""
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
    """The unseen class that a name is another spelling of."""
    unseen, whole = _forbidden_names.get(), normalize_class_name(name)
    if not unseen or synset_id(name) is not None:
        return None
    own, plain = (
        _spelling_forms(whole) | _spelling_forms(strip_brackets(whole)),
        strip_brackets(whole) == whole,
    )
    for other in sorted(unseen):
        # a crane (bird) is no crane (machine)
        if own & (
            _spelling_forms(other) | _spelling_forms(strip_brackets(other))
            if plain
            else _spelling_forms(other)
        ):
            return other
    return None


def _spelling_forms(name: str) -> set[str]:
    """A name and what it may be the plural of, without anything between their letters."""
    return {"".join(_WORD.findall(form)) for form in (name, *singular_forms(name))} - {""}
