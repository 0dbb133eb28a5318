"""Label budgets: stratified, seeded, nested, and never of an unseen class."""

import itertools

import numpy as np
import pytest
import torch

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.label_budget import LabelBudget, label_budget_facts
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import ConfigError, DataError

SEEN = ("bar", "circle", "cross", "ring", "square")


@pytest.fixture
def data(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)


def labelled(data, domain=None):
    rows = np.concatenate([data.rows[d] for d in Domain if domain in (None, d)])
    return set(rows[(data.labels[torch.from_numpy(rows)] >= 0).numpy()].tolist())


def test_all_changes_nothing(data):
    assert LabelBudget().apply_to(data) is data
    assert labelled(LabelBudget("100%").apply_to(data)) == labelled(data)


@pytest.mark.parametrize(
    ("amount", "each"), [("50%", 6), ("25%", 3), ("9%", 1), ("3-per-class", 3), ("99-per-class", 12)]
)
def test_each_class_and_domain_keeps_its_share(data, amount, each):
    few = LabelBudget(amount).apply_to(data)
    for domain in Domain:
        count = few.labels[torch.from_numpy(few.rows[domain])]
        assert count[count >= 0].bincount().tolist() == [each] * 5
    assert all(np.array_equal(few.rows[d], data.rows[d]) for d in Domain)


def test_smaller_budgets_lie_within_larger_ones(data):
    chain = [
        labelled(LabelBudget(a, seed=3).apply_to(data)) for a in ("9%", "2-per-class", "25%", "50%", "all")
    ]
    assert all(small < large for small, large in itertools.pairwise(chain))


def test_the_seed_decides_and_the_order_of_files_does_not(data):
    one, again = (labelled(LabelBudget("25%", seed=1).apply_to(data)) for _ in range(2))
    assert one == again
    assert one != labelled(LabelBudget("25%", seed=2).apply_to(data))
    backwards = {d: rows[::-1].copy() for d, rows in data.rows.items()}
    turned = TrainingSet(data.manifest, data.pack, backwards, data.classes)
    assert one == labelled(LabelBudget("25%", seed=1).apply_to(turned))


def test_one_domain_or_some_classes_can_be_labelled(data):
    few = LabelBudget("25%", "sketch").apply_to(data)
    assert len(labelled(few, Domain.SKETCH)) == 15
    assert not labelled(few, Domain.PHOTO)
    named = LabelBudget(classes="ring, Bar").apply_to(data)
    assert named.classes == ("bar", "ring")
    assert len(labelled(named)) == 48
    assert len(LabelBudget(classes="2").apply_to(data).classes) == 2


def test_an_image_outside_the_budget_reaches_a_batch_without_its_label(data):
    few = LabelBudget("25%").apply_to(data)
    rows = few.rows[Domain.PHOTO]
    batch = few.read_batch(rows)
    assert (batch.label >= 0).sum() == 15
    kept = batch.label >= 0
    assert torch.equal(batch.label[kept], data.read_batch(rows).label[kept])


def test_labels_of_unseen_classes_are_refused(data):
    with pytest.raises(DataError, match="'triangle' is not a seen class") as told:
        LabelBudget(classes="ring,triangle").apply_to(data)
    assert "never read" in told.value.hint


def test_a_share_that_leaves_a_class_without_a_label_names_it(data):
    with pytest.raises(DataError, match="--labels 5% leaves class 'bar' without a labelled sketch") as told:
        LabelBudget("5%").apply_to(data)
    assert "8.33%" in told.value.hint


@pytest.mark.parametrize("amount", ["", "ten", "0%", "101%", "0-per-class", "-5%"])
def test_an_amount_of_another_form_is_refused(amount):
    with pytest.raises(ConfigError, match="--labels"):
        LabelBudget(amount)
    with pytest.raises(ConfigError, match="--label-domains drawings"):
        LabelBudget(domains="drawings")


def test_provenance_counts_and_hashes_what_was_read(data):
    budget = LabelBudget("25%", seed=4)
    facts = label_budget_facts(budget, budget.apply_to(data))
    assert facts["count"] == {"sketch": 15, "photo": 15}
    assert (facts["amount"], facts["classes"], facts["seed"]) == ("25%", 5, 4)
    other = LabelBudget("25%", seed=5)
    assert label_budget_facts(other, other.apply_to(data))["sha256"] != facts["sha256"]
