"""Specs, the controls, SAKE's shipped matrix, and the guard over unseen classes."""

import numpy as np
import pytest
import torch

from ssl_sbir.errors import ConfigError, DataError, SslSbirError
from ssl_sbir.semantics import forbid_unseen_classes, imagenet_names, load_semantics
from ssl_sbir.semantics.candidate_names import candidate_spellings
from ssl_sbir.semantics.class_spelling import head_noun, singular_forms
from ssl_sbir.semantics.unseen_guard import mentions_unseen_class


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ("wordnett", r"unknown source of semantics 'wordnett'\. Did you mean 'wordnet'\?"),
        ("conceptnet", "write conceptnet:FILE"),
        ("glove:here", "write glove\n"),
        ("shuffled:glov", "Did you mean 'glove'"),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec, cause):
    with pytest.raises(ConfigError, match=cause):
        load_semantics(spec)


def test_a_missing_file_is_named(tmp_path):
    for kind in ("conceptnet", "vectors", "sake-shipped"):
        with pytest.raises(DataError, match="there is no file"):
            load_semantics(f"{kind}:{tmp_path / 'none.bin'}")


def test_imagenet_names_are_a_thousand_different_ones():
    names = imagenet_names()
    assert len(set(names)) == len(names) == 1000
    assert names[134] == "crane [n02012849]"
    assert names[517] == "crane [n03126707]"


def test_the_back_off_in_its_order():
    assert [word for word, _ in candidate_spellings("Palm Trees")] == [
        "palm_trees", "palmtrees", "palm-trees", "palm_tree", "trees", "tree",
    ]  # fmt: skip
    assert next(iter(candidate_spellings("crane (machine)")))[0] == "crane_(machine)"
    assert "crane" in [word for word, _ in candidate_spellings("crane (machine)")]
    assert head_noun("flower_with_stem") == "flower"
    assert singular_forms("boxes") == ["box", "boxe"]
    assert next(candidate_spellings("mouse [n03793489]"))[0] == "computer_mouse"


@pytest.fixture
def shipped(tmp_path):
    table = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0)).numpy()
    np.savez(tmp_path / "s.npz", similarity=table, classes=np.array(["cat", "fire-hydrant", "pig"]))
    return load_semantics(f"sake-shipped:{tmp_path / 's.npz'}"), torch.from_numpy(table)


def test_a_shipped_matrix_is_looked_up_by_class_and_imagenet_name(shipped):
    source, table = shipped
    found = source.similarity(["pig", "Fire Hydrant", "cow"], imagenet_names())
    assert torch.equal(found, torch.stack([table[2], table[1], torch.zeros(1000)]))
    with pytest.raises(ConfigError, match="compares classes with ImageNet's 1,000 classes only"):
        source.similarity(["cat"], ["pig"])
    with pytest.raises(SslSbirError, match="has no paths between names"):
        source.path("cat", "pig")


def test_a_shipped_matrix_of_another_size_is_refused(tmp_path):
    np.savez(tmp_path / "s.npz", similarity=np.zeros((2, 1000)), classes=np.array(["cat"]))
    with pytest.raises(DataError, match=r"similarity is \[2, 1000\], but there are 1 classes"):
        load_semantics(f"sake-shipped:{tmp_path / 's.npz'}")
    for table, names, cause in (
        (np.full((1, 1000), 7.0), ["cat"], r"isn't floats from 0 to 1 \(float64\)"),
        (np.full((1, 1000), b"x"), ["cat"], "isn't floats from 0 to 1"),
        (np.zeros((2, 1000)), ["Cat", "cat"], "the class 'Cat' occurs twice"),
    ):
        np.savez(tmp_path / "s.npz", similarity=table, classes=np.array(names))
        with pytest.raises(DataError, match=cause):
            load_semantics(f"sake-shipped:{tmp_path / 's.npz'}")
    (tmp_path / "s.npz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="can't be read as SAKE's similarity"):
        load_semantics(f"sake-shipped:{tmp_path / 's.npz'}")


NAMES = ["cat", "dog", "fire", "hydrant"]


def test_shuffling_moves_every_row_and_keeps_the_values(tmp_path):
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    text = "".join(f"{n} {' '.join(map(str, row.tolist()))}\n" for n, row in zip(NAMES, rows, strict=True))
    (tmp_path / "v.txt").write_text(text + "tench 1 1 1 1 1\n")
    plain = load_semantics(f"vectors:{tmp_path / 'v.txt'}")
    columns = ["tench [n01440764]", "cat"]
    was = plain.similarity(NAMES, ["tench [n01440764]"])
    seen = set()
    for seed in range(4):
        mixed = load_semantics(f"shuffled:{seed}:vectors:{tmp_path / 'v.txt'}")
        now = mixed.similarity(NAMES, columns)[:, :1]
        assert sorted(now.flatten().tolist()) == pytest.approx(sorted(was.flatten().tolist()))
        assert (now != was).all()
        square = mixed.similarity(NAMES, NAMES)
        torch.testing.assert_close(square.diagonal(), torch.ones(4))
        seen.add(tuple(now.flatten().tolist()))
    assert len(seen) > 1


@pytest.mark.usefixtures("nouns")
def test_shuffling_leaves_no_class_with_the_imagenet_class_of_its_name():
    names = ["banana", "hammer", "hat", "zebra"]  # ImageNet has all but the hat
    plain = load_semantics("wordnet").similarity(names, imagenet_names())
    mixed = load_semantics("shuffled:wordnet").similarity(names, imagenet_names())
    assert (plain == 1).any(1).sum() >= 3
    for place, row in enumerate(mixed):
        of = [other for other, was in enumerate(plain) if torch.equal(row, was)]
        assert len(of) == 1
        assert of != [place]


def test_nothing_is_like_anything_in_the_control():
    assert load_semantics("none").similarity(["cat"], imagenet_names()).sum() == 0


def test_unseen_names_are_refused_while_training(tmp_path):
    source = load_semantics("none")
    with forbid_unseen_classes(["Sea Turtle", "zebra"]):
        with pytest.raises(ConfigError, match="'sea_turtle' is an unseen class"):
            source.similarity(["cat", "sea_turtle"], ["cat"])
        with pytest.raises(ConfigError, match="'ZEBRA' is an unseen class"):
            source.resolve_names(["ZEBRA"])
        for spelt in ("zebras", "zebra (animal)", "SeaTurtle", "sea-turtles"):
            with pytest.raises(ConfigError, match="is an unseen class, spelt '"):
                source.resolve_names([spelt])
        source.similarity(["cat"], imagenet_names())  # zebra [n02391049] is an answer of the teacher
    source.similarity(["zebra"], ["cat"])
    (tmp_path / "v.txt").write_text("zebra 1 2\n")
    words = load_semantics(f"vectors:{tmp_path / 'v.txt'}")
    assert words.resolve_names(["qwx zebra"])["qwx zebra"].matched_name == "zebra"
    with forbid_unseen_classes(["zebra", "crane (machine)"]):
        assert words.resolve_names(["qwx zebra"])["qwx zebra"] is None
        assert source.resolve_names(["crane (bird)"])["crane (bird)"] is not None


@pytest.mark.parametrize(
    ("unseen", "text"),
    [
        ("axe", "two axes"), ("axe", "the axe's handle"), ("axe", "a dog/axe"), ("knife", "a set of knives"),
        ("bus", "red buses"), ("mouse", "mice in a barn"), ("hotdog", "hot dogs"), ("teapot", "a tea-pot"),
        ("hot-air_balloon", "a hot air balloon"), ("crane_(bird)", "a “crane”"), ("cat", "CAT!"), ("dish", "dishes"),
    ],
)  # fmt: skip
def test_a_text_that_names_an_unseen_class_is_known_for_it(unseen, text):
    assert not mentions_unseen_class(text)
    with forbid_unseen_classes([unseen, "zebra"]):
        assert mentions_unseen_class(text)
        assert not mentions_unseen_class("a category of catalogues, busy with taxes")
