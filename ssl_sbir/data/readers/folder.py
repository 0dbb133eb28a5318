"""A folder of one's own: `{sketch,photo}/<class>/*`, or simply a pile of images."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssl_sbir.data.columns import Columns
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.names import printable
from ssl_sbir.data.readers.kinds import READERS
from ssl_sbir.data.readers.tables import PairTable, TextTable, pair_table, text_table
from ssl_sbir.data.trees import FileSource, class_name, entries, existing_folder, images_in, is_image_name
from ssl_sbir.errors import DataError

FOLDERS = {Domain.SKETCH: ("sketch", "sketches"), Domain.PHOTO: ("photo", "photos")}


@dataclass
class _Tree:
    root: Path
    pairs: PairTable
    texts: TextTable
    warnings: list[str] = field(default_factory=list)


@READERS.register("folder")
def folder(spec: str, path: str) -> Manifest:
    """Images of one's own: {sketch,photo}/<class>/*, or a folder of unlabelled photos.

    `sketch` or `sketches`, `photo` or `photos`; either may be absent; images lying directly in one of them
    have no label. Without any of the four folders, every image at any depth is a photo without a label.
    `pairs.csv` (class, sketch, photo) says which photo a sketch was drawn from; `texts.csv` (file, text)
    describes images, by path below the folder or by file name.

    Raises:
        DataError: the folder is missing or holds no image, or a table is malformed.
    """
    root = existing_folder(path, spec)
    tree = _Tree(root, pair_table(root / "pairs.csv"), text_table(root / "texts.csv"))
    parts = _domain_folders(root)
    columns = _labelled(tree, parts) if parts else _pile(tree)
    columns.warnings += tree.warnings + tree.pairs.leftovers() + tree.texts.leftovers()
    manifest = columns.manifest(spec, FileSource(root))
    if not len(manifest):
        raise DataError(
            f"{spec}: no images in {root}",
            "Put them into photo/<class>/ and sketch/<class>/, or straight into the folder.",
        )
    return manifest


def _domain_folders(root: Path) -> list[tuple[Domain, str]]:
    there = entries(root)[0]
    return [(domain, name) for domain, known in FOLDERS.items() for name in there if name.lower() in known]


def _labelled(tree: _Tree, parts: list[tuple[Domain, str]]) -> Columns:
    class_folders = [(domain, part, name) for domain, part in parts for name in entries(tree.root / part)[0]]
    columns = Columns({class_name(name) for _, _, name in class_folders})
    tree.warnings += _outside(tree.root, {part for _, part in parts})
    for domain, part in parts:
        names = [name for _, among, name in class_folders if among == part]
        for file in _loose(tree, part, labelled=bool(names)):
            _add(columns, tree, f"{part}/{file}", domain, None)
        for name in names:
            for file in images_in(tree.root, f"{part}/{name}", tree.warnings):
                _add(columns, tree, f"{part}/{name}/{file}", domain, class_name(name))
    return columns


def _add(columns: Columns, tree: _Tree, key: str, domain: Domain, label: str | None) -> None:
    pair = tree.pairs.instance(label, key, domain) if label is not None else None
    columns.add(key, domain, label, pair, tree.texts.of(key))


def _loose(tree: _Tree, part: str, *, labelled: bool) -> list[str]:
    """Images outside a class folder: they count only where there is no class folder at all."""
    files = [name for name in entries(tree.root / part)[1] if is_image_name(name)]
    if labelled:
        tree.warnings += [f"{printable(f'{part}/{name}')}: outside a class folder, skipped" for name in files]
        return []
    return files


def _outside(root: Path, parts: set[str]) -> list[str]:
    folders, files = entries(root)
    known = {"pairs.csv", "texts.csv"}
    strange = [
        f"{printable(name)}/: neither sketches nor photos, skipped" for name in folders if name not in parts
    ]
    return strange + [
        f"{printable(name)}: outside {' and '.join(sorted(parts))}, skipped"
        for name in files
        if name not in known and is_image_name(name)
    ]


def _pile(tree: _Tree) -> Columns:
    columns = Columns()
    for key in _walk(tree.root, "", {os.path.realpath(tree.root)}):
        if is_image_name(key):
            columns.add(key, Domain.PHOTO, text=tree.texts.of(key))
        elif key not in {"pairs.csv", "texts.csv"}:
            tree.warnings.append(f"{printable(key)}: not an image, skipped")
    return columns


def _walk(root: Path, below: str, met: set[str]) -> Iterator[str]:
    """Keys of the files at any depth; each folder once, since a link may lead in a circle."""
    folders, files = entries(root / below)
    yield from (f"{below}{name}" for name in files)
    for name in folders:
        place = os.path.realpath(root / below / name)
        if place not in met:
            met.add(place)
            yield from _walk(root, f"{below}{name}/", met)
