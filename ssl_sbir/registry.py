"""Names that lead to things, with a suggestion for a misspelt one and room for other people's entries."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from ssl_sbir.errors import ConfigError

EntryT = TypeVar("EntryT")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


class Registry(Generic[EntryT]):
    """A table from names to things of one kind.

    Args:
        kind: the kind, as an error names it ("recipe").
        list_command: the command that lists the names.
        group: entry-point group in which other packages may offer more; read on the first miss or listing.
    """

    def __init__(self, kind: str, list_command: str, group: str | None = None) -> None:
        self.kind = kind
        self.list_command = list_command
        self.group = group
        self._entries: dict[str, EntryT] = {}

    def register(self, name: str) -> Callable[[EntryT], EntryT]:
        """A decorator that enters its target under `name`.

        Raises:
            ConfigError: the name is taken by something else.
        """

        def add_entry(thing: EntryT) -> EntryT:
            if self._entries.setdefault(name, thing) is not thing:
                raise ConfigError(f"two {self.kind}s are called '{name}'", "Rename one of them.")
            return thing

        return add_entry

    def get(self, name: str) -> EntryT:
        """The thing of that name.

        Raises:
            ConfigError: nothing has that name; suggests the closest one.
        """
        if name not in self._entries:
            self._load_entry_points()
        if name not in self._entries:
            raise ConfigError(
                f"unknown {self.kind} '{name}'.{did_you_mean(name, self._entries)}", f"({self.list_command})"
            )
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load_entry_points()
        return sorted(self._entries)

    @contextmanager
    def temporarily_empty(self) -> Iterator[None]:
        """What is registered within the block is forgotten after it (a user's copy may keep its name)."""
        things, self._entries = self._entries, {}
        try:
            yield
        finally:
            self._entries = things

    def _load_entry_points(self) -> None:
        group, self.group = self.group, None
        for point in entry_points(group=group) if group else ():
            self._entries.setdefault(point.name, point.load())
