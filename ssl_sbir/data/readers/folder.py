"""A folder of one's own: `{sketch,photo}/<class>/*`, or unlabelled photos at any depth."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.image_folders import (
    FileSource,
    class_name_of_folder,
    existing_folder,
    is_image_name,
    list_class_images,
    list_folder,
)
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.manifest_columns import ManifestBuilder
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.readers.folder_tables import PairTable, TextTable, read_pair_table, read_text_table
from ssl_sbir.errors import DataError

DOMAIN_FOLDER_NAMES = {Domain.SKETCH: ("sketch", "sketches"), Domain.PHOTO: ("photo", "photos")}


@dataclass
class _ImageTree:
    root: Path
    pairs: PairTable
    texts: TextTable
    warnings: list[str] = field(default_factory=list)


@READERS.register("folder")
def read_image_folder(spec: str, path: str) -> Manifest:
    """Images of one's own: {sketch,photo}/<class>/*, or a folder of unlabelled photos.

    `sketch` or `sketches`, `photo` or `photos`; either may be missing; images directly in one of them
    have no label. Without any of the four folders, every image at any depth is a photo without a label.
    `pairs.csv` (class, sketch, photo) says which photo a sketch was drawn from; `texts.csv` (file, text)
    describes images, by path below the folder or by file name.

    Raises:
        DataError: the folder is missing or holds no images, or a table is malformed.
    """
    root = existing_folder(path, spec)
    tree = _ImageTree(root, read_pair_table(root / "pairs.csv"), read_text_table(root / "texts.csv"))
    parts = _domain_folders(root)
    columns = _read_class_folders(tree, parts) if parts else _read_photo_pile(tree)
    columns.warnings += tree.warnings + tree.pairs.unmatched_warnings() + tree.texts.unmatched_warnings()
    manifest = columns.build_manifest(spec, FileSource(root))
    if not len(manifest):
        raise DataError(
            f"{spec}: no images in {root}",
            "Put them into photo/<class>/ and sketch/<class>/, or directly into the folder.",
        )
    return manifest


def _domain_folders(root: Path) -> list[tuple[Domain, str]]:
    folders = list_folder(root)[0]
    return [
        (domain, name)
        for domain, spellings in DOMAIN_FOLDER_NAMES.items()
        for name in folders
        if name.lower() in spellings
    ]


def _read_class_folders(tree: _ImageTree, parts: list[tuple[Domain, str]]) -> ManifestBuilder:
    class_folders = [
        (domain, part, name) for domain, part in parts for name in list_folder(tree.root / part)[0]
    ]
    columns = ManifestBuilder({class_name_of_folder(name) for _, _, name in class_folders})
    tree.warnings += _stray_warnings(tree.root, {part for _, part in parts})
    for domain, part in parts:
        names = [name for _, parent, name in class_folders if parent == part]
        for file in _unlabeled_images(tree, part, labelled=bool(names)):
            _add_tree_image(columns, tree, f"{part}/{file}", domain, None)
        for name in names:
            for file in list_class_images(tree.root, f"{part}/{name}", tree.warnings):
                _add_tree_image(columns, tree, f"{part}/{name}/{file}", domain, class_name_of_folder(name))
    return columns


def _add_tree_image(
    columns: ManifestBuilder, tree: _ImageTree, key: str, domain: Domain, label: str | None
) -> None:
    pair = tree.pairs.find_instance(label, key, domain) if label is not None else None
    columns.add(key, domain, label, pair, tree.texts.find_text(key))


def _unlabeled_images(tree: _ImageTree, part: str, *, labelled: bool) -> list[str]:
    """Images outside a class folder, which are read only if there are no class folders."""
    files = [name for name in list_folder(tree.root / part)[1] if is_image_name(name)]
    if labelled:
        tree.warnings += [
            f"{printable_name(f'{part}/{name}')}: outside a class folder, skipped" for name in files
        ]
        return []
    return files


def _stray_warnings(root: Path, parts: set[str]) -> list[str]:
    folders, files = list_folder(root)
    stray_folders = [
        f"{printable_name(name)}/: neither sketches nor photos, skipped"
        for name in folders
        if name not in parts
    ]
    return stray_folders + [
        f"{printable_name(name)}: outside {' and '.join(sorted(parts))}, skipped"
        for name in files
        if is_image_name(name)
    ]


def _read_photo_pile(tree: _ImageTree) -> ManifestBuilder:
    columns = ManifestBuilder()
    for key in _walk_files(tree.root, "", {os.path.realpath(tree.root)}):
        if is_image_name(key):
            columns.add(key, Domain.PHOTO, text=tree.texts.find_text(key))
        elif key not in {"pairs.csv", "texts.csv"}:
            tree.warnings.append(f"{printable_name(key)}: not an image, skipped")
    return columns


def _walk_files(root: Path, below: str, visited: set[str]) -> Iterator[str]:
    """Keys of the files at any depth; each folder is visited once, since links may form a circle."""
    folders, files = list_folder(root / below)
    yield from (f"{below}{name}" for name in files)
    for name in folders:
        real_path = os.path.realpath(root / below / name)
        if real_path not in visited:
            visited.add(real_path)
            yield from _walk_files(root, f"{below}{name}/", visited)
