"""The features of a split's images, each embedded at most once."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.batches import Pack
from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures, validate_features

CenteringMode = Literal["none", "train"]
EncoderEmbedder = Callable[[Encoder, Pack, Manifest, ManifestRows], Float[Tensor, "n d"]]


class SplitFeatures:
    """An encoder and the images of a split; embeds each image at most once.

    Args:
        encoder: the encoder.
        pack: pixels at its size.
        manifest: the images.
        split: seen and unseen classes.
        centre: `train` subtracts from each feature the mean of its domain over readable images of seen classes.
        embed: computes the features of rows.
    """

    def __init__(
        self,
        encoder: Encoder,
        pack: Pack,
        manifest: Manifest,
        split: Split,
        centre: CenteringMode,
        embed: EncoderEmbedder,
    ) -> None:
        self.encoder, self.pack, self.manifest, self.split = encoder, pack, manifest, split
        self.centre, self.embed = centre, embed
        self._cached_features: dict[tuple[Domain, bool], Tensor] = {}

    def readable_rows(self, domain: Domain, classes: Iterable[str]) -> ManifestRows:
        """Readable rows of a domain and some classes, ascending."""
        rows = self.manifest.find_rows(domain, tuple(classes))
        return rows[self.pack.ok[rows]]

    def features_of_rows(self, rows: ManifestRows) -> Float[Tensor, "n d"]:
        """Features of rows of seen or unseen classes, centred if `centre` is `train`."""
        unseen = np.isin(self.manifest.label[rows], self._unseen_labels)
        features: Tensor | None = None
        for domain in Domain:
            for side in (True, False):
                indices = np.flatnonzero((self.manifest.domain[rows] == domain) & (unseen == side))
                if len(indices):
                    part = self._side_features(domain, side)[
                        np.searchsorted(self._side_rows(domain, side), rows[indices])
                    ]
                    features = part.new_empty(len(rows), part.shape[1]) if features is None else features
                    features[indices] = part - self._domain_mean(domain) if self.centre == "train" else part
        assert features is not None, "no rows"
        return features

    def training_features(self) -> Float[Tensor, "m d"]:
        """Features of all readable images of seen classes."""
        rows = np.concatenate([self._side_rows(domain, False) for domain in Domain])
        if not len(rows):
            raise EvaluationError(
                "the data holds no image of a seen class to fit binary codes on",
                "Use the whole data set, not only its test part.",
            )
        return self.features_of_rows(rows)

    def retrieval_features(self, queries: ManifestRows, gallery: ManifestRows) -> RetrievalFeatures:
        """Validated features of some sketches and photos."""
        query_labels, gallery_labels = self.manifest.label[queries], self.manifest.label[gallery]
        return validate_features(
            self.features_of_rows(queries),
            query_labels,
            self.features_of_rows(gallery),
            gallery_labels,
            self.manifest.classes,
        )

    @cached_property
    def _unseen_labels(self) -> list[int]:
        unseen = set(self.split.unseen)
        return [label for label, name in enumerate(self.manifest.classes) if name in unseen]

    def _side_rows(self, domain: Domain, unseen: bool) -> ManifestRows:
        return self.readable_rows(domain, self.split.unseen if unseen else self.split.seen)

    def _side_features(self, domain: Domain, unseen: bool) -> Tensor:
        if (domain, unseen) not in self._cached_features:
            rows = self._side_rows(domain, unseen)
            self._cached_features[domain, unseen] = self.embed(self.encoder, self.pack, self.manifest, rows)
        return self._cached_features[domain, unseen]

    def _domain_mean(self, domain: Domain) -> Float[Tensor, " d"]:
        if not len(self._side_rows(domain, False)):
            raise EvaluationError(
                f"centre train needs {domain.name.lower()} images of seen classes; the data holds none",
                "Use --centre none, or the whole data set.",
            )
        return self._side_features(domain, False).double().mean(0).float()
