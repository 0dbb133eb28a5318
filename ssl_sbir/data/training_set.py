"""The images and labels that a run may read: rows of each domain, without those of unseen classes."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray

from ssl_sbir.data.batches import Batch, Pack, load_batch
from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.errors import DataError

PIXEL_CHECK_CHUNK = 256  # images read at a time


@dataclass(frozen=True)
class TrainingSet:
    """Images a run may see.

    Attributes:
        manifest: all images of the data set.
        pack: their pixels.
        rows: readable rows of each domain that belong to this run.
        classes: names of the seen classes in label order; empty without labels.
        labelled: for each row of the manifest, whether the run may read its label; None for all.
        restricted_to: names of the only classes whose images are included; None for all images.
    """

    manifest: Manifest
    pack: Pack
    rows: dict[Domain, ManifestRows]
    classes: tuple[str, ...] = ()
    labelled: NDArray[np.bool_] | None = None
    restricted_to: tuple[str, ...] | None = None

    @classmethod
    def from_manifest(
        cls, manifest: Manifest, pack: Pack, classes: tuple[str, ...] | None, *, labelled: bool
    ) -> "TrainingSet":
        """The readable images of some classes.

        Args:
            manifest: all images.
            pack: their pixels, row by row.
            classes: the classes whose images to include; None includes all images, labelled or not.
            labelled: whether the run may read the labels.

        Raises:
            DataError: no readable image is left, all images of a domain are identical, or labels are requested
                where there are none.
        """
        rows = {d: _readable_rows(manifest.find_rows(domain=d, classes=classes), pack) for d in Domain}
        if not any(len(r) for r in rows.values()):
            raise DataError(
                f"{manifest.name} has no readable image to train on", "ssl-sbir data verify says why."
            )
        _check_images_differ(manifest, rows, pack)
        only = classes
        if labelled:
            classes = classes or manifest.classes
            _check_both_domains(manifest, rows, classes)
        return cls(manifest, pack, rows, (classes or ()) if labelled else (), restricted_to=only)

    @cached_property
    def labels(self) -> Int[torch.Tensor, " n"]:
        """Label of every row of the manifest as an index into `classes`; -1 where there is none."""
        table = torch.full((len(self.manifest.classes) + 1,), -1, dtype=torch.int64)
        index = {name: i for i, name in enumerate(self.classes)}
        for code, name in enumerate(self.manifest.classes):
            table[code] = index.get(name, -1)
        labels = table[torch.from_numpy(self.manifest.label.astype(np.int64))]
        return labels if self.labelled is None else labels.where(torch.from_numpy(self.labelled), -1)

    def index_by_row(self, *domains: Domain) -> Int[torch.Tensor, " n"]:
        """Index of each row of the manifest among the run's rows of these domains, concatenated; else -1."""
        rows = torch.cat([torch.from_numpy(self.rows[domain]) for domain in domains])
        index = torch.full((len(self.manifest),), -1, dtype=torch.int64)
        index[rows] = torch.arange(len(rows))
        return index

    def read_batch(self, rows: ManifestRows) -> Batch:
        """The images of some rows, uint8, with their labels (all -1 without labels)."""
        return replace(load_batch(self.pack, self.manifest, rows), label=self.labels[torch.from_numpy(rows)])


def _readable_rows(rows: ManifestRows, pack: Pack) -> ManifestRows:
    return rows[pack.ok[rows]]


def _check_images_differ(manifest: Manifest, rows: dict[Domain, ManifestRows], pack: Pack) -> None:
    for domain, part in rows.items():
        starts = range(0, len(part), PIXEL_CHECK_CHUNK)
        first = pack.read_images(part[:1])
        if len(part) > 1 and all(
            (pack.read_images(part[at : at + PIXEL_CHECK_CHUNK]) == first).all() for at in starts
        ):
            raise DataError(
                f"all {len(part):,} {domain.name.lower()} images of {manifest.name} show the same pixels",
                "Check where they came from (ssl-sbir data preview): a run can learn nothing from them.",
            )


def _check_both_domains(
    manifest: Manifest, rows: dict[Domain, ManifestRows], classes: tuple[str, ...]
) -> None:
    for domain, noun in ((Domain.SKETCH, "sketch"), (Domain.PHOTO, "photo")):
        present = {manifest.classes[code] for code in np.unique(manifest.label[rows[domain]]) if code >= 0}
        missing = sorted(set(classes) - present)
        if missing:
            raise DataError(
                f"class '{missing[0]}' of {manifest.name} has no readable {noun}"
                + (f" (and {len(missing) - 1} more classes)" if len(missing) > 1 else ""),
                "Fine-tuning needs photos and sketches of every seen class: add images, or leave the class out.",
            )
