"""The parts of a published data set: where each lies, under which of its names, and how much it holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ssl_sbir.data.columns import Columns
from ssl_sbir.data.manifest import Domain, ImageSource, Manifest
from ssl_sbir.data.names import printable
from ssl_sbir.data.trees import FileSource, class_name, entries, images_in
from ssl_sbir.errors import DataError


@dataclass(frozen=True)
class Part:
    """One folder of class folders.

    Attributes:
        what: of what it is made, in the plural ("extended photos").
        domain: of its images.
        wanted: its official path below the root.
        folder: its path below the root as found; None where it is missing.
        published: how many images it should hold; None where nobody says.
        required: whether nothing works without it.
        instead: folders found in its place, for the error.
        instance: the drawn thing that a file name tells; None where it tells none.
    """

    what: str
    domain: Domain
    wanted: str
    folder: str | None
    published: int | None = None
    required: bool = True
    instead: tuple[str, ...] = ()
    instance: Callable[[str], str] | None = None

    @property
    def cause(self) -> str:
        """Why the part can't be read, in words."""
        found = f"; found {', '.join(self.instead)}" if self.instead else ""
        return f"{self.wanted} is missing{found}"


def first_folder(root: Path, candidates: Sequence[str]) -> str | None:
    """The first of some relative paths that is a folder below the root."""
    return next((path for path in candidates if (root / path).is_dir()), None)


def read_parts(spec: str, root: Path, parts: Sequence[Part]) -> Manifest:
    """The manifest of a data set's parts; an absent part that is not required gives a warning.

    Raises:
        DataError: a required part is missing.
    """
    for part in parts:
        if part.folder is None and part.required:
            raise DataError(f"{spec}: {part.cause}", f"What is wrong in full: ssl-sbir data verify {spec}")
    return read_present(spec, root, parts, FileSource(root))


def read_present(spec: str, root: Path, parts: Sequence[Part], source: ImageSource) -> Manifest:
    """The manifest of those parts that are there."""
    there = [(part, part.folder) for part in parts if part.folder is not None]
    columns = Columns({class_name(name) for _, folder in there for name in entries(root / folder)[0]})
    columns.warnings += [f"{part.cause}: no {part.what}" for part in parts if part.folder is None]
    for part, folder in there:
        _read(columns, root, part, folder)
    return columns.manifest(spec, source)


def _read(columns: Columns, root: Path, part: Part, folder: str) -> None:
    names, loose = entries(root / folder)
    known = {"filelist.txt"}  # TU-Berlin ships one beside its classes
    stray = [printable(f"{folder}/{name}") for name in loose if name not in known]
    columns.warnings += [f"{name}: outside a class folder, skipped" for name in stray]
    for name in names:
        label = class_name(name)
        for file in images_in(root, f"{folder}/{name}", columns.warnings):
            thing = part.instance(PurePosixPath(file).stem) if part.instance else None
            columns.add(
                f"{folder}/{name}/{file}", part.domain, label, None if thing is None else (label, thing)
            )
