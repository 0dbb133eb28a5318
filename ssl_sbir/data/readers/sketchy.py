"""The Sketchy Database (Sangkloy et al., SIGGRAPH 2016), with the extended photos of Liu et al. (2017)."""

import re
from pathlib import Path

from ssl_sbir.data.image_folders import existing_folder, list_folder
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.readers.published_layout import DatasetPart, first_existing_folder, read_dataset_parts

# As unpacked, as renamed by released code, and for a user who names an inner folder as the root.
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
        DataError: a folder is missing; says which variants exist.
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
    """Sketches, photos and (with `extended`) extended photos, each with the folder found."""
    parts = [
        _variant_part(root, Domain.SKETCH, "sketch", sketch_variant, 75_481),
        _variant_part(root, Domain.PHOTO, "photo", photo_variant, 12_500),
    ]
    if extended:
        candidates = [
            f"{prefix}{name}"
            for name in EXTENDED_PHOTO_FOLDERS
            for prefix in ("", *SKETCHY_ROOT_PREFIXES[:2])
        ]
        folder = first_existing_folder(root, candidates)
        parts.append(
            DatasetPart(
                "extended photos", Domain.PHOTO, EXTENDED_PHOTO_FOLDERS[0], folder, 73_002, required=False
            )
        )
    return parts


def _variant_part(root: Path, domain: Domain, name: str, variant: str, published: int) -> DatasetPart:
    candidates = [
        f"{prefix}{name}/{variant}{ready}" for prefix in SKETCHY_ROOT_PREFIXES for ready in ("", "_ready")
    ]
    parent = first_existing_folder(root, [f"{prefix}{name}" for prefix in SKETCHY_ROOT_PREFIXES])
    variants = list_folder(root / parent)[0] if parent else []
    return DatasetPart(
        f"{name}{'es' if domain == Domain.SKETCH else 's'}",
        domain,
        candidates[0],
        first_existing_folder(root, candidates),
        published,
        found_instead=tuple(f"{parent}/{found}" for found in variants if found.startswith("tx_")),
        parse_instance=_photo_of_sketch,
    )


def _photo_of_sketch(stem: str) -> str:
    return re.sub(r"-\d+$", "", stem)
