"""The parts of a published data set: the folder of each, under any of its names, and its number of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.image_folders import FileSource, class_name_of_folder, list_class_images, list_folder
from ssl_sbir.data.manifest import Domain, ImageSource, Manifest
from ssl_sbir.data.manifest_columns import ManifestBuilder
from ssl_sbir.errors import DataError


@dataclass(frozen=True)
class DatasetPart:
    """One folder of class folders.

    Attributes:
        image_noun: its images in words, in the plural ("extended photos").
        domain: of its images.
        official_path: its published path below the root.
        folder: its actual path below the root; None if it is missing.
        published_count: its published number of images; None if there is none.
        required: whether the data set is unusable without it.
        found_instead: folders found in its place, for the error.
        parse_instance: turns a file stem into the name of the depicted thing; None if stems don't say.
    """

    image_noun: str
    domain: Domain
    official_path: str
    folder: str | None
    published_count: int | None = None
    required: bool = True
    found_instead: tuple[str, ...] = ()
    parse_instance: Callable[[str], str] | None = None

    @property
    def missing_reason(self) -> str:
        """Why the part can't be read."""
        found = f"; found {', '.join(self.found_instead)}" if self.found_instead else ""
        return f"{self.official_path} is missing{found}"


def first_existing_folder(root: Path, candidates: Sequence[str]) -> str | None:
    """The first of some relative paths that is a folder below the root, or None."""
    return next((path for path in candidates if (root / path).is_dir()), None)


def read_dataset_parts(spec: str, root: Path, parts: Sequence[DatasetPart]) -> Manifest:
    """The manifest of a data set's parts; a missing part that is not required gives a warning.

    Raises:
        DataError: a required part is missing.
    """
    for part in parts:
        if part.folder is None and part.required:
            raise DataError(
                f"{spec}: {part.missing_reason}", f"For a full report: ssl-sbir data verify {spec}"
            )
    return read_present_parts(spec, root, parts, FileSource(root))


def read_present_parts(spec: str, root: Path, parts: Sequence[DatasetPart], source: ImageSource) -> Manifest:
    """The manifest of the parts that exist."""
    existing = [(part, part.folder) for part in parts if part.folder is not None]
    columns = ManifestBuilder(
        {class_name_of_folder(name) for _, folder in existing for name in list_folder(root / folder)[0]}
    )
    columns.warnings += [
        f"{part.missing_reason}: no {part.image_noun}" for part in parts if part.folder is None
    ]
    for part, folder in existing:
        _add_part_images(columns, root, part, folder)
    return columns.build_manifest(spec, source)


def _add_part_images(columns: ManifestBuilder, root: Path, part: DatasetPart, folder: str) -> None:
    names, loose = list_folder(root / folder)
    known = {"filelist.txt"}  # TU-Berlin ships one beside its classes
    stray = [printable_name(f"{folder}/{name}") for name in loose if name not in known]
    columns.warnings += [f"{name}: outside a class folder, skipped" for name in stray]
    for name in names:
        label = class_name_of_folder(name)
        for file in list_class_images(root, f"{folder}/{name}", columns.warnings):
            thing = part.parse_instance(PurePosixPath(file).stem) if part.parse_instance else None
            columns.add(
                f"{folder}/{name}/{file}", part.domain, label, None if thing is None else (label, thing)
            )
