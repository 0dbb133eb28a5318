"""Tables of named entries, with suggestions for misspelt names and entry points for other packages."""

import difflib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from ssl_sbir.errors import ConfigError

EntryT = TypeVar("EntryT")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


class Registry(Generic[EntryT]):
    """A table of named entries of one kind.

    Args:
        kind: what errors call an entry ("encoder").
        list_command: the command that lists the names.
        group: entry-point group through which other packages add entries; read at the first miss or listing.
    """

    def __init__(self, kind: str, list_command: str, group: str | None = None) -> None:
        self.kind = kind
        self.list_command = list_command
        self.group = group
        self._entries: dict[str, EntryT] = {}

    def register(self, name: str) -> Callable[[EntryT], EntryT]:
        """A decorator that adds its target under `name`.

        Raises:
            ConfigError: another entry has that name.
        """

        def add_entry(entry: EntryT) -> EntryT:
            if self._entries.setdefault(name, entry) is not entry:
                raise ConfigError(f"two entries for {self.kind} are called '{name}'", "Rename one of them.")
            return entry

        return add_entry

    def get(self, name: str) -> EntryT:
        """The entry of that name.

        Raises:
            ConfigError: no entry has that name; suggests the closest one.
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

    def _load_entry_points(self) -> None:
        group, self.group = self.group, None
        for point in entry_points(group=group) if group else ():
            self._entries.setdefault(point.name, point.load())
