"""TU-Berlin (Eitz et al., SIGGRAPH 2012) with the photos of TU-Berlin Extended (Zhang et al., 2016)."""

from pathlib import Path

from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers.kinds import READERS
from ssl_sbir.data.readers.layout import Part, first_folder, read_parts
from ssl_sbir.data.trees import existing_folder

SKETCHES = ("png", "png_ready", "sketches", "sketch")
PHOTOS = ("ImageResized", "ImageResized_ready", "images", "photo")


@READERS.register("tuberlin")
def tuberlin(spec: str, path: str, *, extended: bool = True) -> Manifest:
    """TU-Berlin: 250 classes of 80 sketches, and 204,489 extended photos.

    Args:
        spec: as the user wrote it.
        path: the folder that holds `png` and `ImageResized`.
        extended: whether to add the extended photos.

    Raises:
        DataError: the sketches are missing.
    """
    root = existing_folder(path, spec)
    return read_parts(spec, root, parts(root)[: 2 if extended else 1])


def parts(root: Path) -> list[Part]:
    """Sketches and extended photos, each where it was found."""
    return [
        Part("sketches", Domain.SKETCH, SKETCHES[0], first_folder(root, SKETCHES), 20_000),
        Part("extended photos", Domain.PHOTO, PHOTOS[0], first_folder(root, PHOTOS), 204_489, required=False),
    ]
