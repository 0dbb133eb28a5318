"""Image files in folders: which there are, what was skipped, and how they are opened."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image

from ssl_sbir.data.class_names import normalize_class_name, printable_name
from ssl_sbir.errors import DataError
from ssl_sbir.registry import did_you_mean

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # left by file managers


@dataclass(frozen=True)
class FileSource:
    """Images that are files below a folder; a key is the path relative to it, with `/`."""

    root: Path

    def open(self, key: str, size: int) -> Image.Image:  # noqa: ARG002 - files have their own size
        """The image of a file, not decoded yet."""
        return Image.open(self.root / key)

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A hash of the files' names, sizes and modification times."""
        digest = sha256()
        for key in keys:
            digest.update(os.fsencode(key))
            try:
                facts = os.stat(f"{self.root}/{key}")
            except OSError:
                digest.update(b"\0gone\0")
            else:
                digest.update(b"\0%d\0%d\0" % (facts.st_size, facts.st_mtime_ns))
        return digest.hexdigest()

    def path(self, key: str) -> Path | None:
        """The file of a key."""
        return self.root / key


def existing_folder(path: str | Path, what: str) -> Path:
    """The absolute path of an existing folder.

    Raises:
        DataError: there is none; suggests the closest sibling.
    """
    folder = Path(path).expanduser().absolute()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise DataError(f"{what}: {folder} is a file, not a folder", "Give the folder that holds the images.")
    parent = folder.parent
    if not parent.is_dir():
        raise DataError(f"{what}: {folder} does not exist, nor does {parent}", "Check the path.")
    siblings = [
        printable_name(it.name) for it in parent.iterdir() if it.is_dir() and not it.name.startswith(".")
    ]
    guess = did_you_mean(printable_name(folder.name), siblings)
    raise DataError(f"{what}: {folder} does not exist.{guess}", f"Look in {parent}.")


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the sub-folders and of the files in a folder, each sorted, without hidden ones and LITTER."""
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(folder) as scan:
        for entry in scan:
            if not entry.name.startswith(".") and entry.name.lower() not in LITTER:
                (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def is_image_name(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def class_name_of_folder(folder: str) -> str:
    """The class name of a class folder."""
    return normalize_class_name(printable_name(folder))


def list_class_images(root: Path, relative: str, warnings: list[str]) -> list[str]:
    """Names of the images directly in `root/relative`, sorted; anything else there becomes a warning."""
    folders, files = list_folder(root / relative)
    stray = [name for name in files if not is_image_name(name)]
    warnings += [f"{printable_name(f'{relative}/{name}')}: not an image, skipped" for name in stray]
    warnings += [
        f"{printable_name(f'{relative}/{name}')}/: a folder inside a class, skipped" for name in folders
    ]
    return [name for name in files if is_image_name(name)]
