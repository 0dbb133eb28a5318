import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import BatchSchedule, TrainingSet
from ssl_sbir.errors import DataError


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(
        manifest, prepare_pack(manifest, 32), ("circle", "ring", "bar"), labelled=True
    )


def test_only_seen_classes_and_their_labels_are_there(data):
    batch = data.batch(np.concatenate(list(data.rows.values())))
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


def paired(shapes, tmp_path):
    """The drawn shapes, where sketch n of a class was drawn after photo n // 2."""
    for domain in ("photo", "sketch"):
        (tmp_path / domain).symlink_to(shapes / domain)
    rows = [f"{name},{n:02}.png,{n // 2:02}.png" for name in ("circle", "ring") for n in range(12)]
    (tmp_path / "pairs.csv").write_text("\n".join(["class,sketch,photo", *rows]) + "\n")
    manifest = open_data(f"folder:{tmp_path}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)


def test_pairs_bring_each_photo_with_an_own_sketch(shapes, tmp_path):
    data = paired(shapes, tmp_path)
    schedule, instance = BatchSchedule.from_training_set(data, 20, 30, 0, pairs=True), data.manifest.instance
    found = set()
    for step in range(12):
        drawn = schedule.rows_of_step(step)
        sketches, photos = drawn[:20], drawn[20:]
        assert len(np.unique(drawn)) == 50
        known = [
            row
            for row in photos
            if instance[row] >= 0 and (instance[schedule.photo_sketch_pairs.sketches] == instance[row]).any()
        ]
        assert [instance[row] for row in sketches[: len(known)]] == [instance[row] for row in known][:20]
        found |= set(sketches[: len(known)].tolist())
        assert np.array_equal(drawn, schedule.rows_of_step(step))
    assert len(found) > 18  # both sketches of a photo get their turn


def test_pairs_that_nobody_knows_are_refused(data):
    with pytest.raises(DataError, match="drawn after which photo"):
        BatchSchedule.from_training_set(data, 4, 4, 0, pairs=True)


@given(st.integers(0, 400), st.integers(1, 9), st.integers(1, 13), st.integers(0, 3))
def test_each_epoch_of_a_domain_brings_every_row_once(step, sketches, photos, seed):
    rows = {Domain.SKETCH: np.arange(10), Domain.PHOTO: np.arange(10, 24)}
    schedule = BatchSchedule(rows, {Domain.SKETCH: sketches, Domain.PHOTO: photos}, seed)
    drawn = schedule.rows_of_step(step)
    assert len(drawn) == sketches + photos
    assert set(drawn[:sketches]) <= set(range(10))
    schedule.rows_of_step(step + 30)  # another epoch's order in between changes nothing
    assert np.array_equal(drawn, schedule.rows_of_step(step))
    for domain, size in schedule.sizes.items():
        per_epoch = len(rows[domain]) // size
        first = step // per_epoch * per_epoch
        epoch = [schedule._domain_rows(domain, s) for s in range(first, first + per_epoch)]
        assert len(np.unique(np.concatenate(epoch))) == per_epoch * size


def test_an_absent_domain_gives_its_places_to_the_other(shapes):
    manifest = open_data(f"folder:{shapes}")
    photos = manifest.select_rows(manifest.find_rows(domain=Domain.PHOTO))
    data = TrainingSet.from_manifest(photos, prepare_pack(photos, 32), None, labelled=False)
    schedule = BatchSchedule.from_training_set(data, sketches=4, photos=6, seed=0)
    assert len(schedule.rows_of_step(0)) == 10
    assert torch.equal(data.read_batch(schedule.rows_of_step(0)).domain, torch.ones(10, dtype=torch.int64))


def test_a_batch_larger_than_the_data_is_refused(data):
    with pytest.raises(DataError, match=r"wants 100 sketch images .* has 36"):
        BatchSchedule.from_training_set(data, sketches=100, photos=4, seed=0)
