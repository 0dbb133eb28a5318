"""Images decoded once into one memory-mapped file; interrupted decoding is resumed."""

import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image

from ssl_sbir.data.cached_folder import open_or_create
from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.decode_image import DECODER_VERSION, FITS, BrokenImage, decode_image_list
from ssl_sbir.data.manifest import Manifest, ManifestRows, StreamedSource
from ssl_sbir.errors import DataError
from ssl_sbir.files import (
    cache_dir,
    resumable_array,
    resumable_folder,
    sha256_of,
    write_atomic,
)
from ssl_sbir.progress import show_progress

if TYPE_CHECKING:
    from torch import Tensor

DECODE_CHUNK = 32  # images a task
SPARE_BYTES = 64 << 20
DecodedChunk = tuple[npt.NDArray[np.uint8], dict[int, BrokenImage]]


class Pack:
    """The decoded images of a manifest, row by row.

    Attributes:
        folder: where it lies.
        key: hash of everything it depends on: keys, files, size, fit and decoder.
        images: uint8 memory map [n, size, size, 3].
        ok: bool [n], False where an image is broken (its pixels are white).
        broken: the broken images with reasons.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "pack.json").read_text("utf-8"))
        self.folder = folder
        self.key: str = facts["key"]
        self.size: int = facts["size"]
        self.fit: str = facts["fit"]
        self.images: npt.NDArray[np.uint8] = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        self.broken = tuple(BrokenImage(key, reason) for _, key, reason in facts["broken"])
        self.ok = np.ones(len(self.images), dtype=bool)
        self.ok[[row for row, _, _ in facts["broken"]]] = False
        if self.images.shape != (facts["count"], self.size, self.size, 3) or self.images.dtype != np.uint8:
            raise ValueError(f"{folder} holds {self.images.dtype} {self.images.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def read_images(self, rows: "ManifestRows | Tensor") -> "UInt8[Tensor, 'b 3 s s']":
        """The images at these rows, copied into memory, channels first."""
        import torch

        pixels = np.ascontiguousarray(np.moveaxis(self.images[np.asarray(rows)], 3, 1))
        return torch.from_numpy(pixels)


def prepare_pack(manifest: Manifest, size: int, *, fit: str = "squash", strict: bool = False) -> Pack:
    """The pack of a manifest's images, decoded now or taken from the cache.

    Memory use doesn't grow with the number of images. Two processes that ask for the same pack wait for each
    other. Labels don't matter: a manifest without them shares the pack.

    Args:
        manifest: which images.
        size: side in pixels.
        fit: see `decode_image`.
        strict: whether one broken image, or one of `read_errors`, is an error; otherwise broken images are listed
            and their `ok` is False.

    Raises:
        DataError: an unknown fit, no images, none readable, a broken one with `strict`, or a full disk.
    """
    if not len(manifest):
        raise DataError(f"{manifest.name} holds no images", "Check it with: ssl-sbir data verify")
    if strict and manifest.read_errors:
        more = f" (and {len(manifest.read_errors) - 1:,} more)" if len(manifest.read_errors) > 1 else ""
        raise DataError(
            f"{manifest.read_errors[0]}{more}",
            "Repair or remove it, or continue without it: leave out --strict.",
        )
    if fit not in FITS:
        raise DataError(f"unknown fit '{fit}'", f"One of: {', '.join(FITS)}")
    key = pack_key(manifest, size, fit)
    folder = cache_dir() / "packs" / key[:32]
    pack = open_or_create(Pack, folder, key, lambda: _create_pack(manifest, size, fit, folder, key))
    _check_pack_readable(manifest, pack, strict)
    return pack


def pack_key(manifest: Manifest, size: int, fit: str) -> str:
    """The hash that names the pack of these images; it changes when one of their files does."""
    blob, offsets = manifest.keys.blob, manifest.keys.offsets
    return sha256_of(
        DECODER_VERSION,
        blob.tobytes(),
        offsets.tobytes(),
        manifest.source.fingerprint(manifest.keys),
        str(size),
        fit,
    )


def _create_pack(manifest: Manifest, size: int, fit: str, folder: Path, key: str) -> Pack:
    with resumable_folder(folder) as draft:
        broken = _write_images(draft, manifest, size, fit)
        facts: dict[str, Any] = {
            "key": key,
            "size": size,
            "fit": fit,
            "count": len(manifest),
            "broken": broken,
        }
        (draft / "pack.json").write_text(json.dumps(facts), "utf-8")
        (draft / "broken.jsonl").unlink()
    return Pack(folder)


def _write_images(draft: Path, manifest: Manifest, size: int, fit: str) -> list[tuple[int, str, str]]:
    """Writes the images that an interrupted process left out; returns row, key and reason of each broken one."""
    broken_file = draft / "broken.jsonl"
    with resumable_array(draft / "images.npy", (len(manifest), size, size, 3), DECODE_CHUNK) as (out, done):
        left = manifest.select_rows(np.arange(done, len(manifest)))
        _check_disk_space(draft, len(left), size)
        broken = [item for item in _read_broken_lines(broken_file) if item[0] < done]
        write_atomic(broken_file, "".join(map(_format_broken_line, broken)))
        with (
            open(broken_file, "a", encoding="utf-8") as broken_lines,
            show_progress(len(left), f"decoding {manifest.name}") as bar,
        ):
            for images, bad in iter_decoded_chunks(left, size, fit):
                found = [(done + index, printable_name(it.key), it.reason) for index, it in bad.items()]
                broken_lines.writelines(map(_format_broken_line, found))
                broken_lines.flush()  # before the images: of a complete chunk all broken ones are then known
                out.write(images.data)
                broken += found
                done += len(images)
                bar.advance(len(images))
    return broken


def _format_broken_line(item: tuple[int, str, str]) -> str:
    return json.dumps(item) + "\n"


def _read_broken_lines(file: Path) -> Iterator[tuple[int, str, str]]:
    complete = file.read_text("utf-8").split("\n")[:-1] if file.is_file() else ()  # the last may be cut off
    for line in complete:
        row, key, reason = json.loads(line)
        yield row, key, reason


def iter_decoded_chunks(manifest: Manifest, size: int, fit: str) -> Iterator[DecodedChunk]:
    """Chunks in order, decoded by threads (Pillow releases the GIL), a few chunks ahead of the writer."""
    threads = min(os.cpu_count() or 1, 16)
    waiting: deque[Future[DecodedChunk]] = deque()
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for first in range(0, len(manifest), DECODE_CHUNK):
            rows = range(first, min(first + DECODE_CHUNK, len(manifest)))
            keys = [manifest.keys[row] for row in rows]
            source = (
                manifest.source.load_into_memory(keys)
                if isinstance(manifest.source, StreamedSource)
                else manifest.source
            )
            waiting.append(pool.submit(decode_image_list, source, keys, size, fit))
            if len(waiting) > 3 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_disk_space(folder: Path, count: int, size: int) -> None:
    needed = count * size * size * 3 + SPARE_BYTES
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise DataError(
            f"{count:,} images at {size} px need {needed / 1e9:.1f} GB in {folder.parent}, "
            f"{free / 1e9:.1f} GB are free",
            "Free some space, choose a smaller size, or put the cache elsewhere: SSL_SBIR_CACHE=FOLDER",
        )


def _check_pack_readable(manifest: Manifest, pack: Pack, strict: bool) -> None:
    if not pack.broken or not (strict or len(pack.broken) == len(pack)):
        return
    shown = "; ".join(f"{item.key} ({item.reason})" for item in pack.broken[:3])
    more = f"; and {len(pack.broken) - 3:,} more" if len(pack.broken) > 3 else ""
    raise DataError(
        f"{manifest.name}: {len(pack.broken):,} of {len(pack):,} images can't be read: {shown}{more}",
        "Replace or remove them"
        + ("." if len(pack.broken) == len(pack) else ", or continue without them: leave out --strict"),
    )
