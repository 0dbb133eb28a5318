"""TU-Berlin (Eitz et al., SIGGRAPH 2012) with the photos of TU-Berlin Extended (Zhang et al., 2016)."""

from pathlib import Path

from ssl_sbir.data.image_folders import existing_folder
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.readers.published_layout import DatasetPart, first_existing_folder, read_dataset_parts

TUBERLIN_SKETCH_FOLDERS = ("png", "png_ready", "sketches", "sketch")
TUBERLIN_PHOTO_FOLDERS = ("ImageResized", "ImageResized_ready", "images", "photo")


@READERS.register("tuberlin")
def read_tuberlin(spec: str, path: str, *, extended: bool = True) -> Manifest:
    """TU-Berlin: 250 classes of 80 sketches, and 204,489 extended photos.

    Args:
        spec: as the user wrote it.
        path: the folder that holds `png` and `ImageResized`.
        extended: whether to add the extended photos.

    Raises:
        DataError: the sketches are missing.
    """
    root = existing_folder(path, spec)
    return read_dataset_parts(spec, root, tuberlin_parts(root)[: 2 if extended else 1])


def tuberlin_parts(root: Path) -> list[DatasetPart]:
    """Sketches and extended photos, each with the folder found."""
    return [
        DatasetPart(
            "sketches",
            Domain.SKETCH,
            TUBERLIN_SKETCH_FOLDERS[0],
            first_existing_folder(root, TUBERLIN_SKETCH_FOLDERS),
            20_000,
        ),
        DatasetPart(
            "extended photos",
            Domain.PHOTO,
            TUBERLIN_PHOTO_FOLDERS[0],
            first_existing_folder(root, TUBERLIN_PHOTO_FOLDERS),
            204_489,
            required=False,
        ),
    ]
