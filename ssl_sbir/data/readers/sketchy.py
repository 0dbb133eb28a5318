"""The Sketchy Database (Sangkloy et al., SIGGRAPH 2016), with the extended photos of Liu et al. (2017)."""

import re
from pathlib import Path

from ssl_sbir.data.image_folders import existing_folder, list_folder
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.readers.published_layout import DatasetPart, first_existing_folder, read_dataset_parts

# As unpacked, as renamed by released code, and when the user names an inner folder as the root.
SKETCHY_ROOT_PREFIXES = ("256x256/", "rendered_256x256/256x256/", "")
EXTENDED_PHOTO_FOLDERS = ("EXTEND_image_sketchy", "EXTEND_image_sketchy_ready", "extended_photo")
PLAIN_VARIANT = "tx_000000000000"


@READERS.register("sketchy")
def read_sketchy(
    spec: str,
    path: str,
    *,
    photo_variant: str = PLAIN_VARIANT,
    sketch_variant: str = PLAIN_VARIANT,
    extended: bool = True,
) -> Manifest:
    """Sketchy: 125 classes, 75,481 sketches of 12,500 photos, and 73,002 extended photos.

    Instance: the photo that a sketch was drawn from (`n02691156_10151-1.png` → `n02691156_10151`); extended
    photos have none.

    Args:
        spec: as the user wrote it.
        path: the folder that holds `256x256` and `EXTEND_image_sketchy`.
        photo_variant: which of the photos' `tx_*` folders.
        sketch_variant: which of the sketches' `tx_*` folders (they differ in centring and scale).
        extended: whether to add the extended photos.

    Raises:
        DataError: a folder is missing; says which variants are there.
    """
    root = existing_folder(path, spec)
    return read_dataset_parts(
        spec, root, sketchy_parts(root, photo_variant, sketch_variant, extended=extended)
    )


def sketchy_parts(
    root: Path,
    photo_variant: str = PLAIN_VARIANT,
    sketch_variant: str = PLAIN_VARIANT,
    *,
    extended: bool = True,
) -> list[DatasetPart]:
    """Sketches, photos and, if wanted, extended photos, each where it was found."""
    found = [
        _variant_part(root, Domain.SKETCH, "sketch", sketch_variant, 75_481),
        _variant_part(root, Domain.PHOTO, "photo", photo_variant, 12_500),
    ]
    if extended:
        places = [
            f"{prefix}{name}"
            for name in EXTENDED_PHOTO_FOLDERS
            for prefix in ("", *SKETCHY_ROOT_PREFIXES[:2])
        ]
        folder = first_existing_folder(root, places)
        found.append(
            DatasetPart(
                "extended photos", Domain.PHOTO, EXTENDED_PHOTO_FOLDERS[0], folder, 73_002, required=False
            )
        )
    return found


def _variant_part(root: Path, domain: Domain, name: str, variant: str, published: int) -> DatasetPart:
    places = [
        f"{prefix}{name}/{variant}{ready}" for prefix in SKETCHY_ROOT_PREFIXES for ready in ("", "_ready")
    ]
    above = first_existing_folder(root, [f"{prefix}{name}" for prefix in SKETCHY_ROOT_PREFIXES])
    others = list_folder(root / above)[0] if above else []
    return DatasetPart(
        f"{name}{'es' if domain == Domain.SKETCH else 's'}",
        domain,
        places[0],
        first_existing_folder(root, places),
        published,
        found_instead=tuple(f"{above}/{other}" for other in others if other.startswith("tx_")),
        parse_instance=_photo_of_sketch,
    )


def _photo_of_sketch(stem: str) -> str:
    return re.sub(r"-\d+$", "", stem)
