"""An evaluation of a split together with its images, features and rankings."""

from dataclasses import dataclass
from typing import Any

from ssl_sbir.data.image_pack import Pack
from ssl_sbir.data.manifest import Manifest, ManifestRows
from ssl_sbir.data.splits import Split
from ssl_sbir.evaluation.metrics.result import Evaluation
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures
from ssl_sbir.ranking.ranking import Ranking


@dataclass(frozen=True)
class TestSet:
    """The readable images of a split's unseen classes.

    Attributes:
        manifest: all images of the data set.
        pack: their pixels at the encoder's size.
        split: restricted to the classes in the data.
        queries: rows of the sketches, in the order of the values.
        gallery: rows of the photos.
    """

    __test__ = False  # pytest must not collect it

    manifest: Manifest
    pack: Pack
    split: Split
    queries: ManifestRows
    gallery: ManifestRows


@dataclass(frozen=True)
class SplitEvaluation:
    """The evaluation of an encoder on a split, and what it was computed from.

    Attributes:
        result: the figures.
        test_set: the images.
        features: of queries and gallery.
        ranking: the first results of every sketch by cosine; `ids` are indices into `test_set.gallery`.
    """

    result: Evaluation
    test_set: TestSet
    features: RetrievalFeatures
    ranking: Ranking

    @property
    def facts(self) -> dict[str, Any]:
        """The figures, JSON-able, with `protocols.<preset>.<metric>`."""
        return self.result.to_json()
