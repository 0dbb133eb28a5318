"""What to label next: each way is an order of all images, does what it says, and can't see a label."""

import inspect

import pytest
import torch

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.studies.label_choice import (
    SELECTION_STRATEGIES,
    centered_unit_vectors,
    find_selection_strategy,
    fit_kmeans_clusters,
)

SEEN = ("bar", "circle", "cross", "ring", "square")


@pytest.fixture
def blobs():
    """60 points around three far centres, 40, 15 and 5 of them."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.eye(3).repeat_interleave(torch.tensor([40, 15, 5]), 0) * 10
    return centres + torch.randn(60, 3, generator=draw)


@pytest.mark.parametrize("name", SELECTION_STRATEGIES)
def test_each_way_orders_all_images_and_follows_its_seed(blobs, name):
    order = find_selection_strategy(name)(blobs, 3, 1)
    assert sorted(order.tolist()) == list(range(60))
    assert torch.equal(order, find_selection_strategy(name)(blobs, 3, 1))
    assert list(inspect.signature(find_selection_strategy(name)).parameters) == [
        "features",
        "clusters",
        "seed",
    ]


def test_k_centre_takes_the_farthest_of_all_that_came_before(blobs):
    order, unit = SELECTION_STRATEGIES["k-centre"](blobs, 3, 0).tolist(), centered_unit_vectors(blobs)
    for place in range(1, 20):
        distances = {row: min(1 - float(unit[row] @ unit[o]) for o in order[:place]) for row in order[place:]}
        assert distances[order[place]] == pytest.approx(max(distances.values()), abs=1e-5)


def test_balanced_clusters_take_turns_and_begin_at_their_centres(blobs):
    order = SELECTION_STRATEGIES["cluster-balanced"](blobs, 3, 0).tolist()
    groups = [0 if row < 40 else 1 if row < 55 else 2 for row in order]
    assert all(sorted(groups[n : n + 3]) == [0, 1, 2] for n in range(0, 15, 3))
    distances, label = fit_kmeans_clusters(centered_unit_vectors(blobs), 3, 0)
    for row in order[:3]:
        same = [other for other in range(60) if label[other] == label[row]]
        assert distances[row, label[row]] == min(distances[other, label[row]] for other in same)


def test_the_uncertain_lie_between_two_clusters():
    angles = torch.tensor(
        [0.0, 0.1, 3.1, 3.0, 1.6, -1.4]
    )  # two groups on a circle, and two that are in neither
    order = SELECTION_STRATEGIES["uncertainty"](torch.stack([angles.cos(), angles.sin()], 1), 2, 0)
    assert set(order[:2].tolist()) == {4, 5}


def test_an_unknown_way_is_named():
    with pytest.raises(ConfigError, match="Did you mean 'k-centre'"):
        find_selection_strategy("k-center")


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)


def ordered(data, tmp_path, rows):
    path = tmp_path / "order.txt"
    path.write_text("".join(f"{data.manifest.keys[int(row)]}\n" for row in rows))
    return str(path)


def test_the_first_of_an_order_are_labelled_whatever_their_class(data, tmp_path):
    rows = torch.cat([torch.from_numpy(data.rows[d]).flip(0) for d in Domain]).tolist()
    few = LabelBudget("10%", order=ordered(data, tmp_path, rows)).apply_to(data)
    for domain in Domain:
        last = data.rows[domain][-6:]
        found = few.rows[domain][few.labels[torch.from_numpy(few.rows[domain])] >= 0]
        assert found.tolist() == last.tolist()
    assert few.classes == ("square",)
    wider = LabelBudget("50%", order=ordered(data, tmp_path, rows)).apply_to(data)
    assert set(few.labelled.nonzero()[0]) < set(wider.labelled.nonzero()[0])
    assert len(wider.classes) == 3


def test_an_order_that_is_short_missing_or_beside_classes_is_refused(data, tmp_path):
    short = ordered(data, tmp_path, data.rows[Domain.SKETCH][:3])
    with pytest.raises(DataError, match="names 3 of these images"):
        LabelBudget("50%", order=short).apply_to(data)
    with pytest.raises(DataError, match=r"absent\.txt"):
        LabelBudget("50%", order=str(tmp_path / "absent.txt")).apply_to(data)
    with pytest.raises(ConfigError, match="--label-order with --label-classes"):
        LabelBudget("50%", classes="2", order=short)
