"""WebDataset shards: tar files of photos, on disk or behind http(s) URLs."""

import glob
import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ssl_sbir.data.class_names import normalize_class_name, printable_name
from ssl_sbir.data.forward_reader import is_existing_file, is_url
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.manifest_columns import ManifestBuilder
from ssl_sbir.data.readers.data_kinds import READERS
from ssl_sbir.data.tar_listing import ShardListing, list_shard
from ssl_sbir.data.tar_shards import ShardSource, format_shard_key
from ssl_sbir.errors import DataError
from ssl_sbir.progress import show_progress

LISTED_AT_ONCE = 8
MOST_SHARDS = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@READERS.register("shards")
def read_shards(spec: str, path: str) -> Manifest:
    """WebDataset shards of photos: tar files, local or http(s), such as photos-{0000..0009}.tar.

    Every image is a photo; `.txt` of the same sample is its description, `.cls` its class. Nothing is unpacked:
    shards are listed once (the listing is cached), and streamed into the pack that training reads. Of a truncated
    or unreachable shard only the images behind the break are lost; `Manifest.read_errors` names it.

    Args:
        spec: as the user wrote it.
        path: path or URL; `{0000..0009}` and `{a,b}` stand for several, `*` and `?` match names on disk.

    Raises:
        DataError: no shard holds an image, or the pattern is invalid.
    """
    listings = _list_all_shards(_expand_shard_pattern(spec, path))
    names = _short_shard_names([it.location for it in listings])
    columns = ManifestBuilder(
        {normalize_class_name(m.label) for it in listings for m in it.members if m.label}
    )
    for name, listing in zip(names, listings, strict=True):
        for member in listing.members:
            label = normalize_class_name(member.label) if member.label else None
            key = format_shard_key(name, member.offset, member.size, member.name)
            columns.add(key, Domain.PHOTO, label, text=member.text or None)
        if listing.other_file_count:
            columns.warnings.append(f"{name}: {listing.other_file_count:,} files that are no images, skipped")
        if listing.read_error:
            columns.read_errors.append(_describe_shard_error(name, listing))
    manifest = columns.build_manifest(spec, ShardSource(dict(zip(names, listings, strict=True))))
    if not len(manifest):
        raise DataError(
            f"{spec}: no images in {len(listings):,} shards" + _format_first_error(columns.read_errors),
            "Check the path or URL; a shard is a plain tar of image files.",
        )
    return manifest


def _describe_shard_error(name: str, listing: ShardListing) -> str:
    extent = f"broke off after {len(listing.members):,} images" if listing.members else "can't be read"
    return f"{printable_name(name)} {extent}: {listing.read_error}"


def _format_first_error(read_errors: list[str]) -> str:
    return f" ({read_errors[0]})" if read_errors else ""


def _list_all_shards(locations: list[str]) -> list[ShardListing]:
    with ThreadPoolExecutor(LISTED_AT_ONCE) as pool, show_progress(len(locations), "listing", "shard") as bar:
        listings = []
        for listing in pool.map(list_shard, locations):
            listings.append(listing)
            bar.advance(1)
        return listings


def _expand_shard_pattern(spec: str, pattern: str) -> list[str]:
    """Every path or URL that a pattern matches, each once."""
    if not pattern:
        raise DataError(f"{spec}: which shards?", "Such as shards:photos-{0000..0009}.tar")
    if math.prod(len(_brace_choices(inside)) for inside in _BRACES.findall(pattern)) > MOST_SHARDS:
        raise DataError(f"{spec} matches more than {MOST_SHARDS:,} shards", "Is there a digit too many?")
    expanded = dict.fromkeys(_expand_braces(pattern))
    return [location for one in expanded for location in _match_files(one)]


def _expand_braces(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    width = len(braces[1].partition("..")[0])
    for choice in _brace_choices(braces[1]):
        filled = choice if isinstance(choice, str) else str(choice).zfill(width)
        yield from _expand_braces(pattern[: braces.start()] + filled + pattern[braces.end() :])


def _brace_choices(inside: str) -> Sequence[str] | range:
    """What a pair of braces expands to; a range isn't written out."""
    ends = _RANGE.fullmatch(inside)
    if ends is None:
        return inside.split(",")
    first, last = int(ends[1]), int(ends[2])
    return range(first, last + 1) if first <= last else range(first, last - 1, -1)


def _match_files(location: str) -> list[str]:
    if is_url(location):
        return [location]
    local = os.path.expanduser(location)
    return sorted(glob.glob(local)) if glob.has_magic(local) and not is_existing_file(local) else [local]


def _short_shard_names(locations: list[str]) -> list[str]:
    """The name of each shard in keys: its location without the folders that all share, and without a URL's query."""
    plain = [it.partition("?")[0] if is_url(it) else it for it in locations]
    folders = zip(*(it.split("/")[:-1] for it in plain), strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, folders))
    names = ["/".join(it.split("/")[shared:]) for it in plain]
    distinct = len(set(names)) == len(names)
    return names if distinct else [f"{name}:{number}" for number, name in enumerate(names)]
