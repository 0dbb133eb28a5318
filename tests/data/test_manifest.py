import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_sbir.data.class_names import normalize_class_name, printable_name
from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.data.manifest import Domain, Manifest, StringColumn
from ssl_sbir.data.manifest_columns import ManifestBuilder

# Any text, and lone surrogates as Python makes of file names that are no UTF-8.
names = st.text(
    st.one_of(st.characters(codec="utf-8"), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
)


@given(st.lists(names, max_size=30), st.data())
def test_strings_equal_the_list_they_came_from(strings, data):
    column = StringColumn.from_strings(strings)
    assert list(column) == strings
    assert len(column) == len(strings)
    if strings:
        rows = data.draw(st.lists(st.integers(0, len(strings) - 1), max_size=50))
        assert list(column.take_rows(np.array(rows, dtype=np.int64))) == [strings[row] for row in rows]
        assert column[-1] == strings[-1]
    with pytest.raises(IndexError):
        column[len(strings)]


def test_take_is_right_across_blocks(monkeypatch):
    monkeypatch.setattr("ssl_sbir.data.string_column._GATHER_BLOCK", 3)
    strings = [str(number) * number for number in range(20)]
    rows = np.array([19, 0, 0, 7, 3, 3, 11, 1], dtype=np.int64)
    assert list(StringColumn.from_strings(strings).take_rows(rows)) == [strings[row] for row in rows]


@given(st.text())
def test_normalise_twice_changes_nothing(name):
    once = normalize_class_name(name)
    assert normalize_class_name(once) == once
    assert not set(once) & set(" -\t")


@pytest.mark.parametrize(
    "name", ["Hot-Air Balloon", "hot_air_balloon", "hot air  balloon", " HOT-air-balloon "]
)
def test_spellings_of_a_class_are_one(name):
    assert normalize_class_name(name) == "hot_air_balloon"


def test_composed_and_decomposed_accents_are_one():
    assert normalize_class_name("Cafe\u0301") == normalize_class_name("café")


def test_printable_of_undecodable_bytes():
    assert printable_name("a\udcff") == "a\ufffd"


def sample() -> Manifest:
    columns = ManifestBuilder(["cat", "ant"])
    columns.add("p/1", Domain.PHOTO, "ant", ("ant", "1"), "an ant")
    columns.add("s/1", Domain.SKETCH, "ant", ("ant", "1"), "an ant")
    columns.add("p/2", Domain.PHOTO, "cat", ("cat", "1"))
    columns.add("p/3", Domain.PHOTO)
    return columns.build_manifest("test", FileSource(Path("/nowhere")))


def test_rows_counts_and_texts():
    manifest = sample()
    assert manifest.classes == ("ant", "cat")
    assert manifest.find_rows().tolist() == [0, 1, 2, 3]
    assert manifest.find_rows(Domain.PHOTO).tolist() == [0, 2, 3]
    assert manifest.find_rows(classes=["Cat", "unheard-of"]).tolist() == [2]
    assert manifest.count_by_class() == {"ant": (1, 1), "cat": (0, 1)}
    assert manifest.instance[0] == manifest.instance[1] != manifest.instance[2]
    assert [manifest.text_of_row(row) for row in range(4)] == ["an ant", "an ant", None, None]


def test_select_keeps_rows_together():
    part = sample().select_rows(np.array([2, 0]))
    assert list(part.keys) == ["p/2", "p/1"]
    assert part.label.tolist() == [1, 0]
    assert part.text_of_row(1) == "an ant"


def test_without_labels_tells_nothing():
    bare = sample().without_labels()
    assert set(bare.label.tolist()) == set(bare.instance.tolist()) == set(bare.text.tolist()) == {-1}
    assert bare.classes == ()
    assert len(bare.texts) == 0
    assert list(bare.keys) == list(sample().keys)


@pytest.mark.parametrize("column", ["domain", "label", "instance", "text"])
def test_sha_changes_with_every_column(column):
    manifest = sample()
    changed = getattr(manifest, column).copy()
    changed[-1] = 0 if changed[-1] else 1
    other = dataclasses.replace(manifest, **{column: changed})
    assert other.sha256 != manifest.sha256 == sample().sha256


def test_sha_ignores_where_the_data_lies():
    assert dataclasses.replace(sample(), name="elsewhere").sha256 == sample().sha256
    assert dataclasses.replace(sample(), classes=("ant", "dog")).sha256 != sample().sha256


def test_ten_million_rows_fit_in_two_gigabytes():
    columns = ManifestBuilder([f"class_{number}" for number in range(300)])
    count = 100_000
    for row in range(count):
        columns.add(
            f"EXTEND_image_sketchy/class_{row % 300}/n0{row:07}_{row}.jpg", Domain.PHOTO, f"class_{row % 300}"
        )
    manifest = columns.build_manifest("large", FileSource(Path("/nowhere")))
    assert manifest.nbytes / count * 10_000_000 < 2e9
    assert (
        manifest.select_rows(manifest.find_rows(classes=["class_7"])).keys[1]
        == "EXTEND_image_sketchy/class_7/n00000307_307.jpg"
    )
