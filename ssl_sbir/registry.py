"""Names that lead to things, with a suggestion for a misspelt one and room for other people's entries."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from ssl_sbir.errors import ConfigError

T = TypeVar("T")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


class Registry(Generic[T]):
    """A table from names to things of one kind.

    Args:
        what: the kind, as an error names it ("recipe").
        listing: the command that lists the names.
        group: entry-point group in which other packages may offer more; read on the first miss or listing.
    """

    def __init__(self, what: str, listing: str, group: str | None = None) -> None:
        self.what = what
        self.listing = listing
        self.group = group
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that enters its target under `name`.

        Raises:
            ConfigError: the name is taken by something else.
        """

        def enter(thing: T) -> T:
            if self._things.setdefault(name, thing) is not thing:
                raise ConfigError(f"two {self.what}s are called '{name}'", "Rename one of them.")
            return thing

        return enter

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            ConfigError: nothing has that name; suggests the closest one.
        """
        if name not in self._things:
            self._load_entry_points()
        if name not in self._things:
            raise ConfigError(
                f"unknown {self.what} '{name}'.{did_you_mean(name, self._things)}", f"({self.listing})"
            )
        return self._things[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load_entry_points()
        return sorted(self._things)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is registered within the block is forgotten after it (a user's copy may keep its name)."""
        things, self._things = self._things, {}
        try:
            yield
        finally:
            self._things = things

    def _load_entry_points(self) -> None:
        group, self.group = self.group, None
        for point in entry_points(group=group) if group else ():
            self._things.setdefault(point.name, point.load())
