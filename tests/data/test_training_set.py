"""The images and labels that a run may read."""

import numpy as np
import pytest

from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import DataError


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(
        manifest, prepare_pack(manifest, 32), ("circle", "ring", "bar"), labelled=True
    )


def test_only_seen_classes_and_their_labels_are_there(data):
    batch = data.read_batch(np.concatenate(list(data.rows.values())))
    assert set(batch.label.tolist()) == {0, 1, 2}
    named = {data.manifest.classes[data.manifest.label[row]] for row in batch.row}
    assert named == {"circle", "ring", "bar"}
    for row, label in zip(batch.row, batch.label, strict=True):
        assert data.classes[label] == data.manifest.classes[data.manifest.label[row]]


def test_without_labels_every_label_is_hidden(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), ("circle",), labelled=False)
    assert data.classes == ()
    assert (data.read_batch(data.rows[Domain.PHOTO]).label == -1).all()
    assert len(data.rows[Domain.PHOTO]) == 12


def test_a_class_without_photos_is_named(shapes):
    manifest = open_data(f"folder:{shapes}")
    circle = manifest.classes.index("circle")
    one_sided = manifest.select_rows(
        np.flatnonzero((manifest.label != circle) | (manifest.domain == Domain.SKETCH))
    )
    with pytest.raises(DataError, match=r"'circle' .* has no readable photo"):
        TrainingSet.from_manifest(one_sided, prepare_pack(one_sided, 32), ("bar", "circle"), labelled=True)
