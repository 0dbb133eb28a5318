"""Watching a run: what is logged, what a collapse says, and that no unseen class can enter."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainCentredEncoder, Encoder, load_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.training.monitor import Monitor
from ssl_sbir.training.pipeline import TrainingRequest, train

TINY = (*TINY_ENCODER, "batch.sketches=8", "batch.photos=8", "projection_dim=16", "optim.max_steps=4",
        "monitor.steps=2", "monitor.images=32")  # fmt: skip
SEEN = ("circle", "bar", "ring")


def watched(shapes, out, *settings, split=None):
    request = TrainingRequest("simclr", f"folder:{shapes}", out, split=split, settings=(*TINY, *settings))
    return train(request, "pretraining", str)


@pytest.fixture
def split(tmp_path):
    file = tmp_path / "few.json"
    file.write_text(json.dumps({"seen": SEEN, "unseen": ["cross", "square"]}))
    return str(file)


def test_a_run_logs_how_its_features_lie_and_training_does_not_notice(shapes, tmp_path):
    watching = watched(shapes, tmp_path / "watching")
    lines = {line["step"]: line["monitor"] for line in watching.read_metrics()}
    assert list(lines) == [2, 4]
    for domain in ("sketch", "photo"):
        values = lines[4][domain]
        assert set(values) == {"alignment", "uniformity", "rank", "spread"}
        assert 1 <= values["rank"] <= 32
        assert values["alignment"] > 0 > values["uniformity"]
    blind = watched(shapes, tmp_path / "blind", "monitor.steps=0")
    models = [(run.path / "model/model.safetensors").read_bytes() for run in (watching, blind)]
    assert models[0] == models[1]


def test_a_collapse_is_said_at_once(shapes, tmp_path, capsys, monkeypatch):
    watched(shapes, tmp_path / "well")
    assert "collapsing" not in capsys.readouterr().err
    features = "ssl_sbir.training.monitor.Monitor._embed_rows"
    monkeypatch.setattr(features, lambda self, encoder, rows, **_: torch.ones(len(rows), 8))
    watched(shapes, tmp_path / "collapsed")
    said = capsys.readouterr().err
    assert "photo features are collapsing at step 2: rank 1 is below 2 (monitor.min_rank)" in said
    assert "sketch features are collapsing at step 2: spread" in said


def test_a_collapse_shows_behind_means_that_are_taken_off(shapes, tmp_path, capsys):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    recipe = recipes.load_recipe("simclr")(recipes.load_recipe("simclr").Config(monitor={"images": 32}))
    encoder = DomainCentredEncoder(
        Collapsed(load_encoder("timm:test_efficientnet", size=32, pretrained=False))
    )
    batch = data.read_batch(np.concatenate([rows[:16] for rows in data.rows.values()])).to("cpu")
    encoder.update_domain_means(encoder.encoder(batch.image, batch.domain), batch.domain)
    monitor = Monitor.for_run(recipe, data)
    facts = monitor.measure_features(encoder, 1)
    monitor.warn_of_collapse(facts, 1)
    assert facts["photo"]["spread"] < 0.02
    assert "photo features are collapsing at step 1" in capsys.readouterr().err


class Collapsed(Encoder):
    """Nearly the same feature for every image."""

    def __init__(self, inner):
        super().__init__(inner.spec, inner.preprocess, inner.width)
        self.inner = inner

    def feature_map(self, image, domain):
        return 5 + 1e-4 * self.inner.feature_map(image, domain).tanh()


def test_a_run_of_few_steps_is_sampled_in_the_end(shapes, tmp_path):
    lines = watched(shapes, tmp_path / "short", "monitor.steps=100").read_metrics()
    assert [line["step"] for line in lines if "monitor" in line] == [4]


def test_retrieval_of_seen_classes_needs_a_split_and_reads_no_other_class(shapes, tmp_path, split):
    with pytest.raises(ConfigError, match=r"monitor.seen_retrieval: no split"):
        watched(shapes, tmp_path / "open", "monitor.seen_retrieval=true")
    run = watched(shapes, tmp_path / "run", "monitor.seen_retrieval=true", split=split)
    assert 0 < run.read_metrics()[-1]["monitor"]["seen"]["map"] <= 1
    plain = watched(shapes, tmp_path / "plain", split=split)
    assert "seen" not in plain.read_metrics()[-1]["monitor"]
    models = [(r.path / "model/model.safetensors").read_bytes() for r in (run, plain)]
    assert models[0] == models[1]


def test_retrieval_in_fine_tuning_reads_the_labels_of_the_budget_alone(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=True)
    kind = recipes.load_recipe("doodle2search")
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)

    def seen_map(data):
        config = kind.Config(monitor={"seen_retrieval": True, "images": 1000})
        return Monitor.for_run(kind(config), data).measure_features(encoder, 1)["seen"]["map"]

    few = LabelBudget("50%").apply_to(data)
    wrong = manifest.label.copy()
    wrong[~few.labelled] = manifest.classes.index("cross")
    assert seen_map(few) == seen_map(replace(few, manifest=replace(manifest, label=wrong)))
    assert seen_map(few) != seen_map(data)


def test_a_monitor_looks_at_seen_classes_alone(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), SEEN, labelled=False)
    kind = recipes.load_recipe("simclr")
    monitor = Monitor.for_run(kind(kind.Config(monitor={"seen_retrieval": True, "images": 1000})), data)
    sampled = np.concatenate(list(monitor.rows.values()))
    assert len(sampled) == 2 * 3 * 12
    assert {manifest.classes[code] for code in manifest.label[sampled]} == set(SEEN)
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    assert set(monitor.measure_features(encoder, 1)) == {"sketch", "photo", "seen"}
    assert set(monitor.rows) == set(Domain)
