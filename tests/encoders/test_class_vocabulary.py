"""Classes in words: ImageNet's, a user's own file and every way to spoil one, and the vectors of descriptions."""

import contextlib
import json
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

from ssl_sbir.encoders import ClassVocabulary, embed_vocabulary, imagenet_vocabulary, read_vocabulary_file
from ssl_sbir.encoders.text_word_average import WordVectorTextEncoder
from ssl_sbir.encoders.word_vector_files import WordVectorTable
from ssl_sbir.errors import ConfigError, EncoderError

PETS = ClassVocabulary("pets", ("owl, night bird", "cat", "old oak"), ("a bird of night", "", "an old tree"))


def word_encoder(seed=0):
    words = ["owl", "night", "bird", "cat", "old", "oak", "tree"]
    vectors = np.random.default_rng(seed).normal(size=(len(words), 5)).astype(np.float32)
    return WordVectorTextEncoder("own", WordVectorTable(words, vectors))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_SBIR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vocabularies"


def test_imagenet_has_its_thousand_classes_in_the_order_of_its_classifiers():
    vocabulary = imagenet_vocabulary()
    assert (vocabulary.name, len(vocabulary)) == ("imagenet-1k", 1000)
    assert vocabulary.labels[494] == "chime, bell, gong"
    assert vocabulary.short_labels[494] == "chime"
    assert vocabulary.definitions[494].startswith(
        "a percussion instrument consisting of a set of tuned bells"
    )
    assert (vocabulary.short_labels[0], vocabulary.short_labels[999]) == ("tench", "toilet tissue")
    assert all(vocabulary.definitions)


def test_larger_imagenets_are_there_and_unknown_ones_are_refused():
    assert len(imagenet_vocabulary("imagenet-12k")) == 11_821
    assert imagenet_vocabulary("imagenet-12k").name == "imagenet-12k"
    with pytest.raises(EncoderError, match="unknown ImageNet subset 'imagenet-3k�'"):
        imagenet_vocabulary("imagenet-3k\x1b")


def test_facts_are_json_and_come_back():
    assert ClassVocabulary.from_facts(json.loads(json.dumps(PETS.facts()))) == PETS


@pytest.mark.parametrize(
    "change",
    [{"name": "zoo"}, {"labels": ["owl", "cat", "old oak"]}, {"definitions": ["", "", "an old tree"]}],
)
def test_the_hash_is_of_all_of_it(change):
    assert ClassVocabulary.from_facts({**PETS.facts(), **change}).sha256 != PETS.sha256
    assert ClassVocabulary.from_facts(PETS.facts()).sha256 == PETS.sha256


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "pets", "labels": ["owl", "cat"]},
        {**PETS.facts(), "name": 3},
        {**PETS.facts(), "labels": "abc"},
        {**PETS.facts(), "labels": ["owl", "cat", None]},
        {**PETS.facts(), "definitions": ["", ""]},
        {**PETS.facts(), "labels": ["owl", "cat", ", oak"]},
        {**PETS.facts(), "labels": ["owl", "cat", "\ud800"]},
        {"name": "pets", "labels": ["owl"], "definitions": [""]},
        {"name": "pets", "labels": ["owl"] * 100_001, "definitions": [""] * 100_001},
    ],
    ids=lambda facts: f"{str(facts)[:60]!a}",
)
def test_damaged_facts_are_refused(facts):
    with pytest.raises((KeyError, TypeError, ValueError)):
        ClassVocabulary.from_facts(facts)


def test_a_description_is_label_definition_and_both(own_cache):
    encoder = word_encoder()
    expected = []
    for label, definition in zip(PETS.labels, PETS.definitions, strict=True):
        texts = [label, definition, f"{label}: {definition}"] if definition else [label]
        expected.append(F.normalize(sum(encoder([text])[0] for text in texts), dim=0))
    found = embed_vocabulary(PETS, encoder)
    torch.testing.assert_close(found, torch.stack(expected))
    assert found.dtype == torch.float32


def test_a_class_without_a_known_word_has_no_direction(own_cache):
    vocabulary = ClassVocabulary("pets", ("owl", "kuvasz"), ("", ""))
    found = embed_vocabulary(vocabulary, word_encoder())
    assert found.norm(dim=1).tolist() == pytest.approx([1, 0])


def test_vectors_are_cached_for_their_text_encoder_and_damaged_ones_are_made_anew(
    own_cache, monkeypatch, capsys
):
    first = embed_vocabulary(PETS, word_encoder())
    assert not torch.allclose(embed_vocabulary(PETS, word_encoder(seed=1)), first)
    renamed = ClassVocabulary("pets", ("cat", *PETS.labels[1:]), PETS.definitions)
    assert not torch.allclose(embed_vocabulary(renamed, word_encoder()), first)
    assert len(list(own_cache.iterdir())) == 3
    with monkeypatch.context() as patch:
        patch.setattr(WordVectorTextEncoder, "_encode_batch", lambda *_: pytest.fail("computed again"))
        assert torch.equal(embed_vocabulary(PETS, word_encoder()), first)
    for damage in (b"broken", save({"vectors": torch.ones(2, 5)}), save({"features": first})):
        for file in own_cache.iterdir():
            file.write_bytes(damage)
        assert torch.equal(embed_vocabulary(PETS, word_encoder()), first)
        assert "damaged" in capsys.readouterr().err
    embed_vocabulary(PETS, word_encoder())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content", "labels", "definitions"),
    [
        ("w.csv", "name,definition\nowl,a night bird\ncat,\n", ("owl", "cat"), ("a night bird", "")),
        ("w.csv", "\ufeffname\r\nowl\r\n\r\ncat\r\n", ("owl", "cat"), ("", "")),
        ("W.CSV", 'definition,id,name\n"it, too",1,"crane, bird"\n,2,cat\n', ("crane, bird", "cat"), ("it, too", "")),
        ("w.csv", "name,definition\nowl\ncat\n", ("owl", "cat"), ("", "")),
        ("w.csv", 'name\n"owl\nof night"\ncat\n', ("owl of night", "cat"), ("", "")),
        ("w.txt", "\ufeffowl, night bird\n\n  old\toak \r\ncat", ("owl, night bird", "old oak", "cat"), ("", "", "")),
        ("words", "сова\n猫\n", ("сова", "猫"), ("", "")),
    ],
)  # fmt: skip
def test_a_file_of_words_is_read(tmp_path, name, content, labels, definitions):
    (tmp_path / name).write_bytes(content.encode())
    found = read_vocabulary_file(tmp_path / name)
    assert (found.name, found.labels, found.definitions) == (name, labels, definitions)
    assert read_vocabulary_file(str(tmp_path / name)) == found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.txt", b"", "holds 0 names: a vocabulary needs two or more"),
        ("w.csv", b"", "has no column 'name'"),
        ("w.txt", b"owl\n", "holds 1 names: a vocabulary needs two or more"),
        ("w.csv", b"name\nowl\n", "holds 1 names: a vocabulary needs two or more"),
        ("w.csv", b"word,definition\nowl,\ncat,\n", "has no column 'name'"),
        ("w.csv", b"name,name\nowl,cat\ncat,owl\n", "names a column twice"),
        ("w.csv", b"name,definition\nowl,a bird\ncat,a pet, too\n", "line 3: 3 values for 2 columns"),
        ("w.csv", b"name,definition\nowl,\n ,a pet\n", "line 3: the name is empty"),
        ("w.csv", b"definition,name\na night bird\n", "line 2: the name is empty"),
        ("w.txt", b"owl\n, cat\n", "line 2: the name is empty"),
        ("w.csv", b'name\nowl\n"cat\n', "unexpected end of data"),
        ("w.csv", b"name\nowl\n" + b"x" * 200_000, "field larger than field limit"),
        ("w.txt", b"name,definition\nowl,a bird\n", "begins like a CSV file"),
        ("w.txt", b"Polar Bear\ncat\n\npolar  bear\n", "line 4: 'polar bear' is the name in line 1 already"),
        ("w.csv", b"name\ncat\nOWL\nowl\n", "line 4: 'owl' is the name in line 3 already"),
        ("w.txt", b"owl\n\xff\xfe\n", "can't decode byte 0xff"),
        ("w.txt", "owl\ncat\n".encode("utf-16"), "can't decode byte 0xff"),
        ("w.txt", b"owl\nc\x00t\n", "line 2: the name 'c\ufffdt' holds control characters"),
        ("w.txt", b"owl\n\x1b[31mcat\n", "line 2: the name '\ufffd[31mcat' holds control characters"),
        ("w.csv", b"name,definition\nowl,\x7f\n", "line 2: the definition of 'owl' holds control characters"),
        ("w.txt", b"owl\n" + b"y" * 1001, "line 2: the name 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…' has"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_spoilt_file_of_words_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_vocabulary_file(tmp_path / name)
    assert message in error.value.message
    assert str(tmp_path / name) in error.value.message
    assert error.value.hint


def test_files_beyond_all_measure_are_refused(tmp_path):
    (tmp_path / "many.txt").write_text("\n".join(f"w{number}" for number in range(100_001)))
    with pytest.raises(ConfigError, match="holds more than 100,000 names"):
        read_vocabulary_file(tmp_path / "many.txt")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(50_000_001)
    with pytest.raises(ConfigError, match="takes more than 50 MB"):
        read_vocabulary_file(tmp_path / "large.txt")


@pytest.mark.parametrize("name", ["absent.txt", "\udcff\x1b.csv", "\ud800", "a\0b", ""])
def test_a_path_that_is_no_file_is_named_printably(tmp_path, name):
    with pytest.raises(ConfigError, match="is no file") as error:
        read_vocabulary_file(f"{tmp_path}/{name}")
    assert error.value.message.encode().decode().isprintable()


def test_a_file_with_an_unprintable_name_gives_a_vocabulary_with_a_printable_one(tmp_path):
    (tmp_path / "\udcffbirds.txt").write_text("owl\ncat")
    assert read_vocabulary_file(tmp_path / "\udcffbirds.txt").name == "?birds.txt"


def test_no_bytes_at_all_end_in_a_traceback(tmp_path):
    chance = random.Random(0)
    pieces = [
        b"name",
        b"definition",
        b",",
        b"\n",
        b"\r",
        b'"',
        b"\x00",
        b"\xed\xa0\x80",
        b" ",
        b"\xe2\x80\xa8",
        b"owl",
    ]
    for _ in range(300):
        file = tmp_path / chance.choice(["w.csv", "w.txt"])
        file.write_bytes(b"".join(chance.choices([*pieces, chance.randbytes(2)], k=chance.randint(0, 12))))
        with contextlib.suppress(ConfigError):
            assert len(read_vocabulary_file(file)) >= 2
