"""From rows of a manifest to batches on a device."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ssl_sbir.data.decode_image import BrokenImage, decode_image
from ssl_sbir.data.image_pack import Pack, prepare_pack
from ssl_sbir.data.manifest import Manifest, ManifestRows

__all__ = ["Batch", "BrokenImage", "Pack", "decode_image", "load_batch", "prepare_pack"]


@dataclass
class Batch:
    """Some images with their domains, labels, rows and texts.

    Attributes:
        image: uint8 as decoded; float in 0..1 once `to` has moved it.
        domain: a `Domain` each.
        label: class number in the manifest, −1 for none.
        row: row of the manifest.
        text: a description each, empty if it has none; None if the manifest has no texts.
        key: identifies a batch that a training loop read (seed, number, process); None for any other batch, also
            for a selection of its images.
    """

    image: UInt8[Tensor, "b 3 h w"] | Float[Tensor, "b 3 h w"]
    domain: Int64[Tensor, " b"]
    label: Int64[Tensor, " b"]
    row: Int64[Tensor, " b"]
    text: list[str] | None = None
    key: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on a device, its images float in 0..1 and channels-last in memory."""
        image = self.image.to(device, non_blocking=True)
        if image.dtype == torch.uint8:
            image = image.float().div_(255)
        return replace(
            self,
            image=image.contiguous(memory_format=torch.channels_last),
            domain=self.domain.to(device, non_blocking=True),
            label=self.label.to(device, non_blocking=True),
            row=self.row.to(device, non_blocking=True),
        )

    def select_images(self, mask: Bool[Tensor, " b"]) -> "Batch":
        """The images whose mask is true, in their order."""
        text = self.text and [text for text, wanted in zip(self.text, mask.tolist(), strict=True) if wanted]
        return Batch(self.image[mask], self.domain[mask], self.label[mask], self.row[mask], text)

    def append_batch(self, other: "Batch") -> "Batch":
        """This batch's images, then the other's."""
        return Batch(
            torch.cat([self.image, other.image]),
            torch.cat([self.domain, other.domain]),
            torch.cat([self.label, other.label]),
            torch.cat([self.row, other.row]),
            None if self.text is None or other.text is None else self.text + other.text,
        )


def load_batch(pack: Pack, manifest: Manifest, rows: ManifestRows | Tensor) -> Batch:
    """The batch of these rows, on the CPU, images uint8 [b, 3, size, size]."""
    rows = np.asarray(rows, dtype=np.int64)
    return Batch(
        image=pack.read_images(rows),
        domain=torch.from_numpy(manifest.domain[rows].astype(np.int64)),
        label=torch.from_numpy(manifest.label[rows].astype(np.int64)),
        row=torch.from_numpy(rows.copy()),
        text=[manifest.text_of_row(int(row)) or "" for row in rows] if len(manifest.texts) else None,
    )
