"""No source of meaning tells a training run anything about its unseen classes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from ssl_sbir.data.names import normalise
from ssl_sbir.errors import ConfigError

_unseen: ContextVar[frozenset[str]] = ContextVar("unseen", default=frozenset())


@contextmanager
def without(unseen: Iterable[str]) -> Iterator[None]:
    """Within the block every source refuses these class names, whoever asks and however they are spelt.

    ImageNet's names are no class names (they carry their WordNet ids) and are never refused: what a teacher knows
    of unseen classes is a matter of the teacher, which the evaluation reports.
    """
    token = _unseen.set(frozenset(normalise(name) for name in unseen))
    try:
        yield
    finally:
        _unseen.reset(token)


def refuse_unseen_names(names: Sequence[str], spec: str) -> None:
    """Raises where a run is training and a name is that of one of its unseen classes.

    Raises:
        ConfigError: names the class and the source that was asked.
    """
    for name in names:
        if normalise(name) in _unseen.get():
            raise ConfigError(
                f"'{name}' is an unseen class: '{spec}' may not be asked about it while training",
                "Ask about seen classes only, or after training.",
            )
