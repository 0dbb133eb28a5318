"""QuickDraw: the extended set of Dey et al. (CVPR 2019), or a folder of Google's simplified strokes."""

from collections.abc import Iterator
from pathlib import Path

from ssl_sbir.data.image_folders import class_name_of_folder, existing_folder, list_class_images, list_folder
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.manifest_columns import ManifestBuilder
from ssl_sbir.data.quickdraw_strokes import STROKES_SUFFIX, StrokeSource
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.readers.published_layout import DatasetPart, first_existing_folder, read_dataset_parts
from ssl_sbir.errors import DataError

QUICKDRAW_SKETCH_FOLDERS = ("QuickDraw_sketches_final", "sketches", "sketch")
QUICKDRAW_PHOTO_FOLDERS = ("QuickDraw_images_final", "images", "photos", "photo")
GOOGLE_PREFIX = "full_simplified_"


@READERS.register("quickdraw")
def read_quickdraw(spec: str, path: str, *, per_class: int | None = None) -> Manifest:
    """QuickDraw-Extended's two folders, or Google's simplified .ndjson files, rasterised.

    Args:
        spec: as the user wrote it.
        path: the folder that holds `QuickDraw_sketches_final` and `QuickDraw_images_final`; or `.ndjson`
            files, one per class, and an optional `photos/<class>/`.
        per_class: number of drawings to take from the beginning of each .ndjson file; None takes all.

    Raises:
        DataError: the folder has neither.
    """
    root = existing_folder(path, spec)
    files = [name for name in list_folder(root)[1] if name.endswith(STROKES_SUFFIX)]
    if files:
        return _read_stroke_files(spec, root, files, per_class)
    if per_class is not None:
        raise DataError(f"{spec}: per_class is for .ndjson files and there are none", "Leave it out.")
    return read_dataset_parts(spec, root, quickdraw_parts(root))


def quickdraw_parts(root: Path) -> list[DatasetPart]:
    """Sketches and photos of the extended set, each with the folder found."""
    return [
        DatasetPart(
            "sketches",
            Domain.SKETCH,
            QUICKDRAW_SKETCH_FOLDERS[0],
            first_existing_folder(root, QUICKDRAW_SKETCH_FOLDERS),
        ),
        DatasetPart(
            "photos",
            Domain.PHOTO,
            QUICKDRAW_PHOTO_FOLDERS[0],
            first_existing_folder(root, QUICKDRAW_PHOTO_FOLDERS),
            required=False,
        ),
    ]


def _read_stroke_files(spec: str, root: Path, files: list[str], per_class: int | None) -> Manifest:
    photos = first_existing_folder(root, QUICKDRAW_PHOTO_FOLDERS)
    folders = list_folder(root / photos)[0] if photos else []
    columns = ManifestBuilder(
        {_class_of_file(name) for name in files} | {class_name_of_folder(name) for name in folders}
    )
    for name in files:
        for count, offset in enumerate(_line_offsets(root / name)):
            if count == per_class:
                break
            columns.add(f"{name}#{offset}", Domain.SKETCH, _class_of_file(name))
    for folder in folders:
        for file in list_class_images(root, f"{photos}/{folder}", columns.warnings):
            columns.add(f"{photos}/{folder}/{file}", Domain.PHOTO, class_name_of_folder(folder))
    return columns.build_manifest(spec, StrokeSource(root))


def _class_of_file(file: str) -> str:
    return class_name_of_folder(file.removeprefix(GOOGLE_PREFIX).removesuffix(STROKES_SUFFIX))


def _line_offsets(file: Path) -> Iterator[int]:
    """The byte offset of each line that is not blank."""
    offset = 0
    with file.open("rb") as lines:
        for line in lines:
            if not line.isspace():
                yield offset
            offset += len(line)
