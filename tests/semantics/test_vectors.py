"""Word vectors: cosines against a slow loop, the forms they come in, and files that don't fit."""

import gzip
import math

import numpy as np
import pytest
import torch
from optional_parts import needs_glove

from ssl_sbir.encoders.word_vector_files import read_word_vectors
from ssl_sbir.errors import DataError
from ssl_sbir.semantics import load_semantics

WORDS = {
    "cat": [1, 0, 0],
    "dog": [0.8, 0.6, 0],
    "fire": [0, 0, 2],
    "hydrant": [0, 1, 0],
    "hot-dog": [-1, 0, 0],
}


def text(words, head=""):
    return head + "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in words.items())


@pytest.fixture
def source(tmp_path):
    (tmp_path / "v.txt").write_text(text(WORDS))
    return load_semantics(f"vectors:{tmp_path / 'v.txt'}")


def test_similarity_is_the_cosine_or_zero(source):
    names = ["cat", "dog", "hot_dog", "xyzzy"]
    found = source.similarity(names, names)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            u, v = (WORDS.get(name.replace("_", "-"), [0, 0, 0]) for name in (a, b))
            norms = math.hypot(*u) * math.hypot(*v)
            cosine = sum(x * y for x, y in zip(u, v, strict=True)) / norms if norms else 0
            assert found[i, j].item() == pytest.approx(max(cosine, 0), abs=1e-6)


def test_a_name_of_several_words_is_their_mean_and_says_so(source):
    found = source.resolve_names(["fire_hydrant", "guide_dog", "dogs"])
    assert str(found["fire_hydrant"]) == "fire + hydrant (as the mean of its words)"
    assert str(found["guide_dog"]) == "dog (by its head noun)"
    assert str(found["dogs"]) == "dog (in the singular)"
    vector = source.name_vectors(["fire_hydrant"])[0]
    torch.testing.assert_close(vector, torch.tensor([0, 0.5**0.5, 0.5**0.5]))


@pytest.mark.parametrize("form", ["word2vec", "gz", "numberbatch", "npy", "npy beside"])
def test_every_form_holds_the_same_vectors(tmp_path, source, form):
    rows = np.array(list(WORDS.values()), np.float32)
    where = tmp_path / "w.txt"
    if form == "word2vec":
        where.write_text(text(WORDS, f"{len(WORDS)} 3\n"))
    elif form == "gz":
        where = tmp_path / "w.vec.gz"
        where.write_bytes(gzip.compress(text(WORDS).encode()))
    elif form == "numberbatch":
        uris = {f"/c/en/{word}": row for word, row in WORDS.items()} | {"/c/fr/chat": [0, 0, 1]}
        where.write_text(text(uris, "6 3\n"))
    else:
        where = tmp_path / "m.npy"
        np.save(where, rows)
        (tmp_path / ("list.txt" if form == "npy" else "vocab_x.txt")).write_text("\n".join(WORDS) + "\n")
        if form == "npy":
            where = f"{where}+{tmp_path / 'list.txt'}"
    found = load_semantics(f"vectors:{where}")
    names = ["cat", "dog", "hot_dog", "fire"]
    torch.testing.assert_close(found.name_vectors(names), source.name_vectors(names))


def test_class_vectors_of_the_benchmark(shared):
    source = load_semantics(f"vectors:{shared}/class-vectors/semantic_labels_sketchy_glove.npy")
    assert source.name_vectors(["cat"]).shape == (1, 300)
    near = source.similarity(["cat"], ["dog", "guitar"])[0]
    assert near[0] > near[1]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "holds no word vectors"),
        ("cat 1 2 3\ndog 1 2\n", "line 2: 'dog' has 2 numbers, the others have 3"),
        ("cat 1 2 3\ndog 1 2 x\n", "line 2: could not convert"),
        ("2 3\ncat 1 2 3\ndog 1 2\n", "has 2 numbers"),
        ("cat 1 2 3\ndog 4 5 6 7\n", "line 2: 'dog' has 4 numbers, the others have 3"),
        ("2 2\ncat 1 2 3\ndog 1 2 3\n", "line 2: 'cat' has 3 numbers, the others have 2"),
        ("cat 1 2 3\ndog 4 nan 6\n", "line 2: 'dog' has a number that is not finite"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, cause):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(DataError, match=cause):
        load_semantics(f"vectors:{tmp_path / 'v.txt'}")


def test_a_file_that_is_cut_short_and_a_vocabulary_that_does_not_fit(tmp_path):
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(text(WORDS).encode() * 50)[:-12])
    with pytest.raises(DataError, match="the file is truncated"):
        load_semantics(f"vectors:{tmp_path / 'v.txt.gz'}")
    np.save(tmp_path / "m.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match="has 3 rows; there is no vocabulary beside it"):
        load_semantics(f"vectors:{tmp_path / 'm.npy'}")
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"has 3 rows; vocab.txt has 2 lines"):
        load_semantics(f"vectors:{tmp_path / 'm.npy'}")
    np.save(tmp_path / "m.npy", np.array([[1, 2], [np.inf, 1]], np.float32))
    with pytest.raises(DataError, match="row 1: a number that is not finite"):
        load_semantics(f"vectors:{tmp_path / 'm.npy'}")
    np.save(tmp_path / "m.npy", np.zeros(3, np.float32))
    with pytest.raises(DataError, match=r"holds float32 \[3\]"):
        load_semantics(f"vectors:{tmp_path / 'm.npy'}")


def test_glove_out_of_its_package():
    needs_glove()
    source = load_semantics("glove")
    near = source.similarity(["cat"], ["dog", "skyscraper"])[0]
    assert near[0] > near[1]
    assert source.name_vectors(["cat"]).shape == (1, 50)


def test_a_word_that_holds_another_end_of_line_stays_one_word(tmp_path):
    (tmp_path / "v.txt").write_text("a\x85b 1 0\nowl 0 1\n", encoding="utf-8")
    found = read_word_vectors(f"{tmp_path / 'v.txt'}")
    assert list(found.words) == ["a\x85b", "owl"]
    assert found.vectors.tolist() == [[1, 0], [0, 1]]
