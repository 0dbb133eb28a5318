"""Sentences search without a label: a run's own words, its teacher beside, earlier runs and indexes, own vocabularies."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from optional_parts import needs_lite0
from tiny_for_tests import TINY_ENCODER
from typer.testing import CliRunner
from vocabulary_for_tests import SMALL_DICTIONARY, write_word_vectors

from ssl_sbir import Retriever
from ssl_sbir.cli import app
from ssl_sbir.data.manifest import Domain
from ssl_sbir.errors import ConfigError, EncoderError, QueryError, RunError
from ssl_sbir.fusion import vocabulary_tower
from ssl_sbir.fusion.open_text_side import open_text_side
from ssl_sbir.run import RunFolder, list_checkpoints
from ssl_sbir.search.index_text_side import load_index_text_side
from ssl_sbir.training.pipeline import TrainingRequest, train

SMALL_LABELFREE = (
    *TINY_ENCODER,
    "teacher_size=48",
    "batch.sketches=16",
    "batch.photos=16",
    "num_clusters=6",
    "embedding_dim=32",
    "optim.max_steps=2",
)


@pytest.fixture(autouse=True)
def small_dictionary(monkeypatch):
    monkeypatch.setattr(vocabulary_tower, "_read_dictionary_words", lambda: SMALL_DICTIONARY)


@pytest.fixture(scope="module")
def trained(shapes: Path, tmp_path_factory) -> RunFolder:
    needs_lite0()
    out = tmp_path_factory.mktemp("runs") / "labelfree"
    return train(
        TrainingRequest("labelfree", f"folder:{shapes}", out, settings=SMALL_LABELFREE), "pretraining"
    )


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy whose texts are read by word vectors: fast, and nothing is embedded but a few words."""
    shutil.copytree(trained.path, tmp_path / "run")
    path = tmp_path / "run/model/text/config.json"
    spec = json.loads(path.read_text())
    spec["text_encoder"]["name"] = write_word_vectors(tmp_path)
    path.write_text(json.dumps(spec))
    return RunFolder.open(tmp_path / "run")


@pytest.fixture
def photos(shapes: Path, tmp_path: Path) -> Path:
    shutil.copytree(shapes / "photo", tmp_path / "photos")
    return tmp_path / "photos"


def test_a_label_free_run_exports_the_words_of_its_teacher(trained: RunFolder):
    side = trained.vocabulary_side()
    assert side is not None
    assert (trained.text_kind, len(side.vocabulary), side.rows.shape) == ("vocabulary", 1000, (1000, 32))
    assert side.vocabulary.short_labels[494] == "chime"
    torch.testing.assert_close(side.rows.mean(0), torch.zeros(32), atol=1e-6, rtol=0)


def test_an_earlier_run_gets_the_same_words_from_its_checkpoint(trained: RunFolder, tmp_path: Path):
    shutil.copytree(trained.path, tmp_path / "earlier")
    shutil.rmtree(tmp_path / "earlier/model/text")
    earlier = RunFolder.open(tmp_path / "earlier")
    ours, theirs = earlier.vocabulary_side(), trained.vocabulary_side()
    assert ours is not None
    assert theirs is not None
    assert earlier.text_kind == "vocabulary"
    assert torch.equal(ours.rows, theirs.rows)
    assert ours.vocabulary == theirs.vocabulary
    shutil.rmtree(list_checkpoints(tmp_path / "earlier/checkpoints")[-1])
    assert (earlier.text_kind, earlier.vocabulary_side()) == ("", None)
    with pytest.raises(RunError, match="takes no text"):
        earlier.text_tower()


def test_a_run_that_keeps_nothing_of_its_teacher_takes_no_text(shapes: Path, tmp_path: Path):
    needs_lite0()
    settings = (*SMALL_LABELFREE, "distillation=0")
    run = train(
        TrainingRequest("labelfree", f"folder:{shapes}", tmp_path / "run", settings=settings), "pretraining"
    )
    assert not run.takes_text
    assert run.encoder_with_teacher() is None


def test_a_teacher_that_is_not_installed_is_said(run: RunFolder, monkeypatch, capsys):
    def refuse(*_: object, **__: object):
        raise EncoderError("encoder 'efficientnet_lite0' needs a package")

    monkeypatch.setattr("ssl_sbir.fusion.put_teacher_beside.load_encoder", refuse)
    assert run.encoder_with_teacher() is None
    assert (
        "its teacher is left out, so texts find less: encoder 'efficientnet_lite0'" in capsys.readouterr().err
    )


def test_photos_are_embedded_by_the_teacher_too(run: RunFolder, photos: Path, shapes: Path, tmp_path: Path):
    retriever = Retriever.load(run, device="cpu").index(photos, tmp_path / "index")
    alone = Retriever.load(run, device="cpu", with_teacher=False).index(photos, tmp_path / "alone")
    assert (retriever.model.encoder.width, alone.model.encoder.width) == (64, 32)
    hits = retriever.search(text="a round thing", k=72)
    vector = retriever.model.embed_text(["a round thing"])
    vectors = retriever.gallery.get_vectors([hit.id for hit in hits])
    assert [hit.score for hit in hits] == pytest.approx((vectors @ vector.T)[:, 0].tolist(), abs=1e-5)
    assert not vector[0, :32].any()
    both = retriever.search(sketch=shapes / "sketch/ring/01.png", text="a round thing", k=3)
    assert both[0].score == pytest.approx(sum(both[0].parts.values()), abs=1e-5)


def test_drawings_need_no_text_encoder(run: RunFolder, photos: Path, shapes: Path, tmp_path: Path):
    retriever = Retriever.load(run, device="cpu").index(photos, tmp_path / "index")

    def refuse():
        raise AssertionError("a text encoder was loaded")

    retriever.model = replace(retriever.model, open_text_encoder=refuse)
    assert len(retriever.search(sketch=shapes / "sketch/ring/01.png", k=3)) == 3
    with pytest.raises(AssertionError, match="was loaded"):
        retriever.search(text="ring")


def test_an_index_without_the_teacher_stays_as_it_is(run: RunFolder, photos: Path, tmp_path: Path):
    Retriever.load(run, device="cpu", with_teacher=False).index(photos, tmp_path / "index")
    (photos / "ring/00.png").unlink()
    opened = Retriever.load(run, device="cpu")
    assert len(opened.open(tmp_path / "index").search(text="circle", k=3)) == 3
    updated = opened.index(photos, tmp_path / "index")
    assert updated.indexing_summary is not None
    assert (updated.indexing_summary.removed, updated.indexing_summary.added) == (1, 0)
    assert updated.model.encoder.width == 32
    assert opened.index(photos, tmp_path / "index", overwrite=True).model.encoder.width == 64


def test_an_owner_s_vocabulary_means_the_photos_in_its_folders(run: RunFolder, photos: Path, tmp_path: Path):
    words = write_word_vectors(tmp_path)
    (tmp_path / "names.csv").write_text(
        "name,definition\nring,a round thing\nbar,a long thing\nzzz,nothing\n"
    )
    retriever = Retriever.load(run, device="cpu").index(
        photos, tmp_path / "index", vocabulary=tmp_path / "names.csv", text_encoder=words
    )
    assert retriever.notes == ("words without example photos, left out: zzz",)
    side = load_index_text_side(tmp_path / "index")
    assert side is not None
    assert side.vocabulary.labels == ("ring", "bar")
    gallery = retriever.gallery
    means = [
        gallery.get_vectors([key for key, _ in gallery.items() if key.startswith(f"{name}/")]).mean(0)
        for name in ("ring", "bar")
    ]
    torch.testing.assert_close(side.rows[0] - side.rows[1], means[0] - means[1])
    again = Retriever.load(run, device="cpu").open(tmp_path / "index")
    assert again.search(text="long bar", k=1)[0].score == pytest.approx(
        retriever.search(text="long bar", k=1)[0].score
    )
    Retriever.load(run, device="cpu").index(photos, tmp_path / "index", overwrite=True)
    assert load_index_text_side(tmp_path / "index") is None


def test_unfit_vocabularies_and_text_encoders_are_refused(run: RunFolder, photos: Path, tmp_path: Path):
    retriever = Retriever.load(run, device="cpu")
    (tmp_path / "names.txt").write_text("ring\nzzz\n")
    with pytest.raises(QueryError, match="1 of the vocabulary's 2 names"):
        retriever.index(
            photos,
            tmp_path / "a",
            vocabulary=tmp_path / "names.txt",
            text_encoder=write_word_vectors(tmp_path),
        )
    (tmp_path / "one.txt").write_text("ring\n")
    with pytest.raises(ConfigError, match="needs two or more"):
        retriever.index(
            photos,
            tmp_path / "b",
            vocabulary=tmp_path / "one.txt",
            text_encoder=write_word_vectors(tmp_path),
        )
    with pytest.raises(EncoderError, match="unknown text encoder"):
        retriever.index(photos, tmp_path / "c", text_encoder="minlm")
    assert not any((tmp_path / name).exists() for name in "bc")  # refused before any photo is embedded


def test_another_text_encoder_reads_the_same_classes(run: RunFolder, photos: Path, tmp_path: Path):
    words = write_word_vectors(tmp_path)
    retriever = Retriever.load(run, device="cpu").index(photos, tmp_path / "index", text_encoder=words)
    side = load_index_text_side(tmp_path / "index")
    assert side is not None
    assert side.text_encoder == words
    assert retriever.model.vocabulary_side is not None
    assert torch.equal(side.rows, retriever.model.vocabulary_side.rows)


def test_a_named_encoder_with_a_classifier_reads_text(tmp_path: Path):
    needs_lite0()
    retriever = Retriever.load("efficientnet_lite0", device="cpu")
    assert retriever.model.reads_text
    encoder = retriever.model.encoder
    tower = open_text_side(encoder, "efficientnet_lite0", write_word_vectors(tmp_path))
    classifier = encoder.classifier()
    assert classifier is not None
    weights = tower.class_weights(["circle"])[0]  # type: ignore[attr-defined]
    expected = weights @ (classifier.weight - classifier.weight.mean(0))
    torch.testing.assert_close(tower(["circle"])[0], expected / expected.norm(), atol=1e-5, rtol=1e-4)


def test_the_commands_say_what_text_needs(run: RunFolder, photos: Path, tmp_path: Path):
    def invoke(*arguments: object):
        return CliRunner().invoke(app, [str(one) for one in arguments])

    done = invoke("index", run.path, photos, "--out", tmp_path / "index", "--without-teacher")
    assert done.exit_code == 0
    assert '--text "a sentence"' in done.stdout
    found = invoke("search", tmp_path / "index", "--text", "a red circle", "-k", 2, "--json")
    assert found.exit_code == 0
    facts = json.loads(found.stdout)
    assert len(facts["hits"]) == 2
    assert facts["text_side"]["vocabulary"]["name"] == "imagenet-1k"
    assert len(facts["text_side"]["sha256"]) == 64
    assert "words of colour" in found.stderr
    missing = invoke(
        "index", run.path, photos, "--out", tmp_path / "index", "--vocabulary", tmp_path / "no.csv"
    )
    assert missing.exit_code == 2
    assert "no.csv is no file" in missing.stderr


def test_evaluation_adds_text_where_it_is_asked_for(run: RunFolder, shapes: Path, tmp_path: Path):
    (tmp_path / "split.json").write_text(
        json.dumps({"seen": ["ring", "square", "cross", "triangle"], "unseen": ["circle", "bar"]})
    )

    def evaluate(*more: str) -> dict:
        command = ["evaluate", str(run.path), "--data", f"folder:{shapes}", "--out", str(tmp_path / "e")]
        result = CliRunner().invoke(app, [*command, "--json", *more])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    two_classes = ("--split", str(tmp_path / "split.json"))
    assert "text dominance" not in evaluate(*two_classes)["audits"]
    audit = evaluate("--text", *two_classes)["audits"]["text dominance"]
    assert audit["found"].keys() >= {"sketch", "text", "both"}
    assert "one class only" in evaluate("--text")["skipped"]["the audit of the text"]


def test_both_parts_of_a_photo_are_of_the_same_size(run: RunFolder):
    beside = run.encoder_with_teacher()
    assert beside is not None
    encoder, side = beside
    assert encoder.preprocess.size == 48
    feature = encoder(torch.rand(1, 3, 48, 48), torch.tensor([int(Domain.PHOTO)]))[0]
    assert feature[:32].norm().item() == pytest.approx(feature[32:].norm().item())
    assert side.rows.shape == (1000, 64)
