import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.splits import Split
from ssl_sbir.errors import DataError

class_names = st.lists(st.text("abcd -_AB", min_size=1, max_size=4), min_size=1, max_size=12)


@given(class_names, class_names)
def test_a_split_is_disjoint_or_refused(seen, unseen):
    if {normalize_class_name(it) for it in seen} & {normalize_class_name(it) for it in unseen}:
        with pytest.raises(DataError, match="seen and unseen"):
            Split("x", tuple(seen), tuple(unseen))
    else:
        split = Split("x", tuple(seen), tuple(unseen))
        assert not set(split.seen) & set(split.unseen)
        assert split.sha256 == Split("y", tuple(reversed(seen)), tuple(unseen)).sha256


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("sketchy-sake-25", 100, 25),
        ("sketchy-eccv-21", 104, 21),
        ("sketchy-sempcyc-25", 100, 25),
        ("tuberlin-sake-30", 220, 30),
        ("quickdraw-zse-30", 80, 30),
    ],
)
def test_published_splits(name, seen, unseen):
    split = Split.load(name)
    assert (split.name, len(split.seen), len(split.unseen)) == (name, seen, unseen)
    assert name in Split.names()


def test_overlap_of_the_two_sketchy_25():
    both = set(Split.load("sketchy-sake-25").unseen) & set(Split.load("sketchy-sempcyc-25").unseen)
    assert both == {"bell", "squirrel", "tank", "wheelchair"}


def test_sempcyc_keeps_its_validation_classes():
    assert len(Split.load("sketchy-sempcyc-25").validation) == 12


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=2, max_size=40, unique=True))
def test_hashed_is_stable_and_two_sided(classes):
    split = Split.from_class_hashes(classes)
    assert split == Split.from_class_hashes(reversed(classes))
    assert split.seen
    assert split.unseen
    assert set(split.seen) | set(split.unseen) == set(classes)


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=6, max_size=40, unique=True))
def test_a_new_class_moves_at_most_one_other(classes):
    assume("zz" not in classes)
    before, after = Split.from_class_hashes(classes), Split.from_class_hashes([*classes, "zz"])
    assert len(set(before.unseen) ^ (set(after.unseen) - {"zz"})) <= 1


def test_restrict_says_so_and_rehashes():
    split = Split("two", ("a", "b"), ("c", "d"))
    assert split.restrict_to(["a", "b", "c", "d", "e"]) is split
    part = split.restrict_to(["A", "c", "d"])
    assert (part.seen, part.unseen) == (("a",), ("c", "d"))
    assert part.name == "two restricted to 1+2 classes"
    assert part.sha256 != split.sha256
    with pytest.raises(DataError, match="none of the unseen classes of two"):
        split.restrict_to(["a", "b"])


def test_one_class_can_not_be_split():
    with pytest.raises(DataError, match="1 class is not enough"):
        Split.from_class_hashes(["cat"])


def test_a_misspelt_split_is_guessed():
    with pytest.raises(DataError, match="Did you mean 'sketchy-sake-25'"):
        Split.load("sketchy-sake25")


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'{"seen": ["a"]}',
        b'{"seen": "ab", "unseen": ["c"]}',
        b'{"seen": [1], "unseen": ["c"]}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_no_split(tmp_path, content):
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match="is not a split"):
        Split.load(file)


def test_a_split_of_ones_own(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"seen": ["Big Cat"], "unseen": ["dog"]}))
    split = Split.load(file)
    assert (split.name, split.seen, split.unseen) == ("mine", ("big_cat",), ("dog",))


def test_a_split_is_named_hashed_published_or_by_a_file():
    own = [f"class {number}" for number in range(10)]
    assert Split.from_name("hashed", own) == Split.from_class_hashes(own)
    seen, unseen = Split.load("sketchy-sake-25").seen[:3], Split.load("sketchy-sake-25").unseen[:2]
    found = Split.from_name("sketchy-sake-25", [*seen, *unseen])
    assert (found.seen, found.unseen) == (seen, unseen)
    with pytest.raises(DataError, match="none of the seen classes"):
        Split.from_name("sketchy-sake-25", own)
