"""Seen and unseen class names, disjoint by construction, with a name and a hash."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of
from ssl_sbir.registry import did_you_mean

HASHED_SPLIT = "hashed"  # requests a split of one's own classes by the hash of their names


@dataclass(frozen=True)
class Split:
    """Which classes training may see, and which are kept for the test.

    Attributes:
        name: such as "sketchy-sake-25".
        seen: class names, normalised and sorted.
        unseen: class names, normalised and sorted.
        source: the paper or code it comes from.
        published_counts: numbers of queries, gallery photos and training images; None where none is published.
        validation: unseen classes that the source used to select its model.

    Raises:
        DataError: a class is on both sides, or a validation class is not unseen.
    """

    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    source: str = ""
    published_counts: Mapping[str, int | None] = field(default_factory=dict, compare=False)
    validation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for side in ("seen", "unseen", "validation"):
            object.__setattr__(
                self, side, tuple(sorted({normalize_class_name(name) for name in getattr(self, side)}))
            )
        both = set(self.seen) & set(self.unseen)
        if both:
            raise DataError(
                f"split {self.name} has seen and unseen: {', '.join(sorted(both))}",
                "A class is either seen or unseen: take it from one of the lists.",
            )
        if not set(self.validation) <= set(self.unseen):
            raise DataError(
                f"split {self.name} validates on classes that are not unseen", "Correct its validation list."
            )

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of both lists, without the name."""
        return sha256_of("\n".join(self.seen), "\n".join(self.unseen))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The published splits that come with the package."""
        folder = files("ssl_sbir.data") / "splits"
        return tuple(sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".json")))

    @classmethod
    def load(cls, name: str | Path) -> "Split":
        """The published split of that name, or the one in a JSON file (`name`, `seen`, `unseen`).

        Raises:
            DataError: there is no such split, or the file holds none.
        """
        if str(name) in cls.names():
            return _parse_split(
                (files("ssl_sbir.data") / "splits" / f"{name}.json").read_text("utf-8"), str(name)
            )
        path = Path(name)
        if not path.is_file():
            raise DataError(
                f"unknown split '{name}'.{did_you_mean(str(name), cls.names())}",
                f"Published: {', '.join(cls.names())}; or give a JSON file, or {HASHED_SPLIT} for classes of your own.",
            )
        try:
            return _parse_split(path.read_text("utf-8"), str(path))
        except UnicodeDecodeError as error:
            raise _split_file_error(str(path), "it is no UTF-8 text") from error

    @classmethod
    def from_name(cls, name: str | Path, classes: Collection[str]) -> "Split":
        """The split of that name, restricted to these classes; "hashed" gives `from_class_hashes` of them.

        Raises:
            DataError: there is no such split, or one of its sides has none of these classes.
        """
        return (
            cls.from_class_hashes(classes)
            if str(name) == HASHED_SPLIT
            else cls.load(name).restrict_to(classes)
        )

    @classmethod
    def from_class_hashes(cls, classes: Iterable[str], fraction: float = 0.2) -> "Split":
        """A stable split of one's own classes: those with the lowest sha256 of their names are unseen.

        Adding a class moves at most one other class to the other side.

        Args:
            classes: names; at least two.
            fraction: of unseen classes, in 0..1; each side has at least one class.

        Raises:
            DataError: fewer than two classes.
        """
        names = sorted({normalize_class_name(name) for name in classes}, key=_class_name_sha256)
        if len(names) < 2:
            raise DataError(
                f"{len(names)} class is not enough to hold one out", "Add classes, or name a split."
            )
        count = min(max(round(len(names) * fraction), 1), len(names) - 1)
        return cls(f"hashed-{count}", tuple(names[count:]), tuple(names[:count]), "lowest sha256 of names")

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Split":
        """The split described by `facts`, such as those in a run's provenance."""
        return cls(facts["name"], tuple(facts["seen"]), tuple(facts["unseen"]))

    def facts(self) -> dict[str, Any]:
        """Name, both lists and the hash, JSON-able; `from_facts` reads them."""
        return {"name": self.name, "seen": self.seen, "unseen": self.unseen, "sha256": self.sha256}

    def restrict_to(self, classes: Collection[str]) -> "Split":
        """The split without classes other than these; its name says so if any is missing.

        Raises:
            DataError: no seen or no unseen class is left.
        """
        present = {normalize_class_name(name) for name in classes}
        seen, unseen, validation = (
            tuple(name for name in side if name in present)
            for side in (self.seen, self.unseen, self.validation)
        )
        for side, left in (("seen", seen), ("unseen", unseen)):
            if not left:
                raise DataError(
                    f"none of the {side} classes of {self.name} is in the data",
                    f"It has names such as {', '.join(getattr(self, side)[:3])}: is it the right split for this data?",
                )
        if (seen, unseen) == (self.seen, self.unseen):
            return self
        name = f"{self.name} restricted to {len(seen)}+{len(unseen)} classes"
        return Split(name, seen, unseen, self.source, {}, validation)


def _class_name_sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _parse_split(text: str, where: str) -> Split:
    try:
        facts: Any = json.loads(text)
        return Split(
            name=str(facts.get("name", Path(where).stem)),
            seen=_parse_class_names(facts["seen"]),
            unseen=_parse_class_names(facts["unseen"]),
            source=str(facts.get("source", "")),
            published_counts=dict(facts.get("published_counts", {})),
            validation=_parse_class_names(facts.get("validation", [])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _split_file_error(where, f"{type(error).__name__}: {error}") from error


def _parse_class_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("seen and unseen must be lists of class names")
    return tuple(value)


def _split_file_error(where: str, why: str) -> DataError:
    return DataError(f"{where} is not a split: {why}", 'It needs {"name": …, "seen": […], "unseen": […]}.')
