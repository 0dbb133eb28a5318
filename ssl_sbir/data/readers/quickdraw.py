"""QuickDraw: the extended set of Dey et al. (CVPR 2019), or a folder of Google's simplified strokes."""

from collections.abc import Iterator
from pathlib import Path

from ssl_sbir.data.columns import Columns
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers.kinds import READERS
from ssl_sbir.data.readers.layout import Part, first_folder, read_parts
from ssl_sbir.data.strokes import SUFFIX, StrokeSource
from ssl_sbir.data.trees import class_name, entries, existing_folder, images_in
from ssl_sbir.errors import DataError

SKETCHES = ("QuickDraw_sketches_final", "sketches", "sketch")
PHOTOS = ("QuickDraw_images_final", "images", "photos", "photo")
GOOGLE_PREFIX = "full_simplified_"


@READERS.register("quickdraw")
def quickdraw(spec: str, path: str, *, per_class: int | None = None) -> Manifest:
    """QuickDraw-Extended's two folders, or Google's simplified .ndjson files, drawn.

    Args:
        spec: as the user wrote it.
        path: the folder that holds `QuickDraw_sketches_final` and `QuickDraw_images_final`; or `.ndjson`
            files, one a class, beside an optional `photos/<class>/`.
        per_class: of .ndjson files, how many drawings of each to take, from the beginning; None takes all.

    Raises:
        DataError: neither is there.
    """
    root = existing_folder(path, spec)
    files = [name for name in entries(root)[1] if name.endswith(SUFFIX)]
    if files:
        return _drawn(spec, root, files, per_class)
    if per_class is not None:
        raise DataError(f"{spec}: per_class is for .ndjson files and there are none", "Leave it out.")
    return read_parts(spec, root, parts(root))


def parts(root: Path) -> list[Part]:
    """Sketches and photos of the extended set, each where it was found."""
    return [
        Part("sketches", Domain.SKETCH, SKETCHES[0], first_folder(root, SKETCHES)),
        Part("photos", Domain.PHOTO, PHOTOS[0], first_folder(root, PHOTOS), required=False),
    ]


def _drawn(spec: str, root: Path, files: list[str], per_class: int | None) -> Manifest:
    photos = first_folder(root, PHOTOS)
    folders = entries(root / photos)[0] if photos else []
    columns = Columns({_class_of(name) for name in files} | {class_name(name) for name in folders})
    for name in files:
        for count, offset in enumerate(_offsets(root / name)):
            if count == per_class:
                break
            columns.add(f"{name}#{offset}", Domain.SKETCH, _class_of(name))
    for folder in folders:
        for file in images_in(root, f"{photos}/{folder}", columns.warnings):
            columns.add(f"{photos}/{folder}/{file}", Domain.PHOTO, class_name(folder))
    return columns.manifest(spec, StrokeSource(root))


def _class_of(file: str) -> str:
    return class_name(file.removeprefix(GOOGLE_PREFIX).removesuffix(SUFFIX))


def _offsets(file: Path) -> Iterator[int]:
    """Where each line that is not blank begins, in bytes."""
    offset = 0
    with file.open("rb") as lines:
        for line in lines:
            if not line.isspace():
                yield offset
            offset += len(line)
