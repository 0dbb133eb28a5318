"""Indexes photos, or brings an older index up to date."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.decode_image import BrokenImage
from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.data.image_pack import iter_decoded_chunks
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import GalleryError
from ssl_sbir.gallery.base import WRITE_WAIT_SECONDS, Gallery
from ssl_sbir.progress import show_progress

INDEX_BATCH_SIZE = 64


@dataclass(frozen=True)
class IndexingSummary:
    """What indexing did.

    Attributes:
        items: photos in the gallery now.
        added: new or changed photos.
        removed: photos that are no longer in the data, or changed and can't be read now.
        unchanged: photos that were indexed before.
        broken: photos that can't be read, and why.
        seconds: duration.
    """

    items: int
    added: int
    removed: int
    unchanged: int
    broken: tuple[BrokenImage, ...]
    seconds: float

    @property
    def photos_per_second(self) -> float:
        """Photos embedded per second."""
        return self.added / max(self.seconds, 1e-9)


def index_photos(
    encoder: Encoder,
    manifest: Manifest,
    gallery: Gallery,
    *,
    device: str = "cpu",
    batch_size: int = INDEX_BATCH_SIZE,
    wait: float = WRITE_WAIT_SECONDS,
) -> IndexingSummary:
    """Brings a gallery up to date with the photos of a manifest: adds new and changed ones, removes missing ones.

    Photos are embedded without label or text. Memory use doesn't depend on their number.

    Args:
        encoder: put into evaluation mode.
        manifest: its photos are indexed, by key.
        gallery: changed in one transaction, where its engine supports it.
        device: where to embed.
        batch_size: photos at a time.
        wait: seconds to wait for another process that writes this gallery.

    Raises:
        GalleryError: the data hold no photos or no readable ones, or the index can't be written.
    """
    start, rows = time.monotonic(), manifest.find_rows(Domain.PHOTO)
    if not len(rows):
        raise GalleryError(f"{manifest.name} holds no photos", "Name a folder of photos.")
    stamps = {
        manifest.keys[row]: manifest.source.fingerprint([manifest.keys[row]])[:16] for row in rows.tolist()
    }
    with gallery.write_transaction(wait):
        known = {name: facts.get("stamp") for name, facts in gallery.items()}
        new = [row for row in rows.tolist() if known.get(manifest.keys[row]) != stamps[manifest.keys[row]]]
        removed = gallery.remove(known.keys() - stamps.keys())
        broken = _embed_into_gallery(
            encoder, manifest, np.array(new, np.int64), gallery, stamps, device, batch_size
        )
        removed += gallery.remove([it.key for it in broken])
        if len(broken) == len(rows):
            reason = f"{printable_name(broken[0].key)}: {broken[0].reason}"
            raise GalleryError(
                f"{manifest.name}: none of {len(rows)} photos can be read ({reason})", "ssl-sbir data verify"
            )
        gallery.update_facts(data={"spec": manifest.name, "root": _source_root(manifest)})
    return IndexingSummary(
        len(gallery), len(new) - len(broken), removed, len(rows) - len(new), broken, time.monotonic() - start
    )


@torch.no_grad()
def _embed_into_gallery(
    encoder: Encoder,
    manifest: Manifest,
    rows: npt.NDArray[np.int64],
    gallery: Gallery,
    stamps: dict[str, str],
    device: str,
    batch_size: int,
) -> tuple[BrokenImage, ...]:
    encoder = encoder.to(device).to(memory_format=torch.channels_last).eval()
    broken: list[BrokenImage] = []
    with show_progress(len(rows), "indexing") as counter:
        for part, images in _photo_batches(manifest, rows, encoder, batch_size, broken):
            image = images.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
            domain = torch.full((len(part),), int(Domain.PHOTO), device=device)
            keys = [manifest.keys[row] for row in part.tolist()]
            gallery.add(
                keys,
                encoder(image, domain).float().cpu(),
                [_photo_metadata(manifest, row, stamps) for row in part.tolist()],
            )
            counter.advance(len(part))
    return tuple(broken)


def _photo_batches(
    manifest: Manifest,
    rows: npt.NDArray[np.int64],
    encoder: Encoder,
    batch_size: int,
    broken: list[BrokenImage],
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Yields rows and their pixels [b, 3, s, s]; adds unreadable photos to `broken`."""
    if not len(rows):
        return
    chosen, fit = manifest.select_rows(rows), encoder.preprocess
    waiting: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]] = []
    done = num_waiting = 0
    for images, bad in iter_decoded_chunks(chosen, fit.size, fit.fit):
        broken += bad.values()
        readable = np.array([index for index in range(len(images)) if index not in bad], np.int64)
        waiting.append((rows[done + readable], images[readable]))
        done, num_waiting = done + len(images), num_waiting + len(readable)
        if num_waiting >= batch_size or done == len(rows):
            part, pixels = (np.concatenate(column) for column in zip(*waiting, strict=True))
            if len(part):
                yield part, torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 3, 1)))
            waiting, num_waiting = [], 0


def _photo_metadata(manifest: Manifest, row: int, stamps: dict[str, str]) -> dict[str, Any]:
    label = int(manifest.label[row])
    class_name = {"label": manifest.classes[label]} if label >= 0 else {}
    return {"stamp": stamps[manifest.keys[row]], **class_name}


def _source_root(manifest: Manifest) -> str | None:
    source = manifest.source
    return str(source.root.absolute()) if isinstance(source, FileSource) else None
