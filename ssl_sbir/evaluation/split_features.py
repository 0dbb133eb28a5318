"""What is evaluated: an encoder, its pictures, and how they become features."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.loading import Pack
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.check import Features, checked

Centre = Literal["none", "train"]
Rows = npt.NDArray[np.int64]
Embed = Callable[[Encoder, Pack, Manifest, Rows], Float[Tensor, "n d"]]


class SplitFeatures:
    """An encoder and the images of a split; embeds each image at most once.

    Args:
        encoder: the encoder.
        pack: pixels at its size.
        manifest: the images.
        split: seen and unseen classes.
        centre: `train` subtracts from each feature the mean of its domain over readable images of seen classes.
        embed: from rows to features.
    """

    def __init__(
        self, encoder: Encoder, pack: Pack, manifest: Manifest, split: Split, centre: Centre, embed: Embed
    ) -> None:
        self.encoder, self.pack, self.manifest, self.split = encoder, pack, manifest, split
        self.centre, self.embed = centre, embed
        self._parts: dict[tuple[Domain, bool], Tensor] = {}

    def rows(self, domain: Domain, classes: Iterable[str]) -> Rows:
        """Readable rows of a domain and some classes, ascending."""
        rows = self.manifest.rows(domain, tuple(classes))
        return rows[self.pack.ok[rows]]

    def features(self, rows: Rows) -> Float[Tensor, "n d"]:
        """Features of rows of seen or unseen classes, centred if so wished."""
        unseen = np.isin(self.manifest.label[rows], self._labels)
        found: Tensor | None = None
        for domain in Domain:
            for side in (True, False):
                mine = np.flatnonzero((self.manifest.domain[rows] == domain) & (unseen == side))
                if len(mine):
                    part = self._part(domain, side)[np.searchsorted(self._base(domain, side), rows[mine])]
                    found = part.new_empty(len(rows), part.shape[1]) if found is None else found
                    found[mine] = part - self._mean(domain) if self.centre == "train" else part
        assert found is not None, "no rows"
        return found

    def training(self) -> Float[Tensor, "m d"]:
        """Features of all readable images of seen classes."""
        rows = np.concatenate([self._base(domain, False) for domain in Domain])
        if not len(rows):
            raise EvaluationError(
                "there is no image of a seen class to fit codes on",
                "Use the whole data set, not its test part.",
            )
        return self.features(rows)

    def compared(self, queries: Rows, gallery: Rows) -> Features:
        """Checked features of some sketches and photos."""
        query_labels, gallery_labels = self.manifest.label[queries], self.manifest.label[gallery]
        return checked(
            self.features(queries),
            query_labels,
            self.features(gallery),
            gallery_labels,
            self.manifest.classes,
        )

    @cached_property
    def _labels(self) -> list[int]:
        unseen = set(self.split.unseen)
        return [label for label, name in enumerate(self.manifest.classes) if name in unseen]

    def _base(self, domain: Domain, unseen: bool) -> Rows:
        return self.rows(domain, self.split.unseen if unseen else self.split.seen)

    def _part(self, domain: Domain, unseen: bool) -> Tensor:
        if (domain, unseen) not in self._parts:
            rows = self._base(domain, unseen)
            self._parts[domain, unseen] = self.embed(self.encoder, self.pack, self.manifest, rows)
        return self._parts[domain, unseen]

    def _mean(self, domain: Domain) -> Float[Tensor, " d"]:
        if not len(self._base(domain, False)):
            raise EvaluationError(
                f"centre: train needs {domain.name.lower()} images of seen classes, and there are none",
                "Use --centre none, or the whole data set.",
            )
        return self._part(domain, False).double().mean(0).float()
