"""Which rows each step reads: repeatable, every row once an epoch, pairs first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import DataError


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(
        manifest, prepare_pack(manifest, 32), ("circle", "ring", "bar"), labelled=True
    )


def schedule_of(sketches, photos, seed):
    rows = {Domain.SKETCH: np.arange(10), Domain.PHOTO: np.arange(10, 24)}
    return BatchSchedule(rows, {Domain.SKETCH: sketches, Domain.PHOTO: photos}, seed)


def test_rows_come_in_another_order_in_every_epoch_and_repeat_by_seed():
    def epochs(seed):
        schedule = schedule_of(5, 7, seed)  # two steps an epoch in both domains
        assert schedule.steps_per_epoch == 2
        steps = [schedule.rows_of_step(step).tolist() for step in range(8)]
        return [[row for step in steps[i : i + 2] for row in step] for i in range(0, 8, 2)]

    first = epochs(0)
    assert all(sorted(epoch) == list(range(24)) for epoch in first)
    for domain in (slice(0, 5), slice(5, 12)):  # of the first step of each epoch
        assert len({tuple(epoch[domain]) for epoch in first}) == 4
    assert first == epochs(0)
    assert all(a != b for a, b in zip(first, epochs(1), strict=True))


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
    seen = set()
    for step in range(12):
        rows = schedule.rows_of_step(step)
        sketches, photos = rows[:20], rows[20:]
        assert len(np.unique(rows)) == 50
        known = [
            row
            for row in photos
            if instance[row] >= 0 and (instance[schedule.photo_sketch_pairs.sketches] == instance[row]).any()
        ]
        assert [instance[row] for row in sketches[: len(known)]] == [instance[row] for row in known][:20]
        seen |= set(sketches[: len(known)].tolist())
        assert np.array_equal(rows, schedule.rows_of_step(step))
    assert len(seen) > 18  # both sketches of a photo get their turn


def test_pairs_that_nobody_knows_are_refused(data):
    with pytest.raises(DataError, match="drawn after which photo"):
        BatchSchedule.from_training_set(data, 4, 4, 0, pairs=True)


@given(st.integers(0, 400), st.integers(1, 9), st.integers(1, 13), st.integers(0, 3))
def test_each_epoch_of_a_domain_brings_every_row_once(step, sketches, photos, seed):
    schedule = schedule_of(sketches, photos, seed)
    rows = schedule.rows_of_step(step)
    assert len(rows) == sketches + photos
    assert set(rows[:sketches]) <= set(range(10))
    schedule.rows_of_step(step + 30)  # another epoch's order in between changes nothing
    assert np.array_equal(rows, schedule.rows_of_step(step))
    for domain, size in schedule.sizes.items():
        per_epoch = len(schedule.rows[domain]) // size
        first = step // per_epoch * per_epoch
        epoch = [schedule._domain_rows(domain, s) for s in range(first, first + per_epoch)]
        assert len(np.unique(np.concatenate(epoch))) == per_epoch * size


def test_the_other_domain_fills_a_batch_that_lacks_one(shapes):
    manifest = open_data(f"folder:{shapes}")
    photos = manifest.select_rows(manifest.find_rows(domain=Domain.PHOTO))
    data = TrainingSet.from_manifest(photos, prepare_pack(photos, 32), None, labelled=False)
    schedule = BatchSchedule.from_training_set(data, sketches=4, photos=6, seed=0)
    assert len(schedule.rows_of_step(0)) == 10
    assert torch.equal(data.read_batch(schedule.rows_of_step(0)).domain, torch.ones(10, dtype=torch.int64))


def test_a_batch_larger_than_the_data_is_refused(data):
    with pytest.raises(DataError, match=r"needs 100 sketch images .* has 36"):
        BatchSchedule.from_training_set(data, sketches=100, photos=4, seed=0)
