"""Fusion in vectors: sums of scores, parts that add up, either side missing, and a weight that means what it says."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssl_sbir.encoders import DomainHeadsEncoder, load_encoder, load_text_encoder, save_encoder, to_two_towers
from ssl_sbir.errors import ConfigError, EncoderError, RunError
from ssl_sbir.fusion import LabelTextTower, TextTower, create_fusion, load_text_tower, save_text_tower
from ssl_sbir.fusion.calibration import (
    average_precision_per_query,
    best_sketch_share,
    class_spread,
    mixing_table,
    sample_conflicting_indices,
    sketch_top_k_share,
)
from ssl_sbir.fusion.modulation import stage_channels
from ssl_sbir.fusion.ridge import fit_ridge, out_of_fold_predictions
from ssl_sbir.fusion.training_texts import clause_sentences, load_class_clauses
from ssl_sbir.semantics import forbid_unseen_classes

KINDS = ("late", "gate", "joint", "modulation", "concatenation")


@pytest.fixture
def words(tmp_path):
    names = ["owl", "tree", "red", "house"]
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    lines = [" ".join([n, *(f"{x:.4f}" for x in row)]) for n, row in zip(names, rows.tolist(), strict=True)]
    (tmp_path / "words.txt").write_text("\n".join(lines) + "\n")
    return f"vectors:{tmp_path / 'words.txt'}"


def made(words, kind, seed=0):
    torch.manual_seed(seed)
    encoder = DomainHeadsEncoder(load_encoder("timm:test_efficientnet", size=32, pretrained=False), 8).eval()
    text = load_text_encoder(words)
    if kind == "concatenation":
        return LabelTextTower(text, encoder, 8)
    extra = {"words": 6, "channels": stage_channels(encoder.encoder)} if kind == "modulation" else {}
    tower = TextTower(text, encoder, nn.Linear(6, 8), create_fusion(kind, 8, **extra))
    for parameter in tower.fusion.parameters():
        nn.init.normal_(parameter, std=0.1)
    return tower.eval()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_any_side_alone_or_both_give_unit_vectors_whose_parts_add_up(words, kind):
    tower = made(words, kind)
    images, texts = torch.rand(3, 3, 32, 32), ["red owl", "tree", "house"]
    for query in (tower.fuse(images), tower.fuse(text=texts), tower.fuse(images, texts, (1, 3))):
        torch.testing.assert_close(query.vector.norm(dim=1), torch.ones(3))
        assert query.vector.shape == (3, 8)
        parts = [part for part in (query.sketch, query.text) if part is not None]
        torch.testing.assert_close(torch.stack(parts).sum(0), query.vector)
    torch.testing.assert_close(tower(texts), tower.fuse(text=texts).vector)
    torch.testing.assert_close(tower.fuse(images, texts, (1, 0)).vector, tower.fuse(images).vector)
    torch.testing.assert_close(tower.fuse(images, texts, (0, 1)).vector, tower.fuse(text=texts).vector)


@torch.no_grad()
def test_late_fusion_of_vectors_ranks_as_the_sum_of_scores(words):
    tower = made(words, "late")
    tower.fusion.mixing.copy_(torch.linspace(0, 1, 21) ** 2)
    sketch, texts = torch.randn(4, 8), ["owl", "tree", "red house", "house"]
    photos = F.normalize(torch.randn(9, 8), dim=1)
    score = tower.fuse(sketch, texts, (0.5, 0.5)).vector @ photos.T
    for q in range(4):
        for a in range(9):
            for b in range(9):
                drawn = [F.cosine_similarity(sketch[q], photos[i], dim=0) for i in (a, b)]
                told = [F.cosine_similarity(tower([texts[q]])[0], photos[i], dim=0) for i in (a, b)]
                first, second = (0.25 * s + 0.75 * t for s, t in zip(drawn, told, strict=True))
                assert (first > second) == (score[q, a] > score[q, b])


def test_the_spread_of_a_query_is_that_of_its_scores_over_the_classes():
    torch.manual_seed(0)
    photos, labels = F.normalize(torch.randn(40, 8), dim=1), torch.arange(40) % 5 + 2
    root, query = class_spread(photos, labels), torch.randn(3, 8)
    means = torch.stack([photos[labels == label].mean(0) for label in range(2, 7)])
    apart = torch.stack([(query[q] @ means.T).var(correction=0) for q in range(3)])
    mean_eigenvalue = means.T.cov(correction=0).trace() / 8
    expected = (apart + query.square().sum(1) * mean_eigenvalue / 5).sqrt()
    torch.testing.assert_close((query @ root).norm(dim=1), expected)


@pytest.mark.parametrize("kind", ["late", "gate"])
@torch.no_grad()
def test_sides_of_one_weight_spread_the_scores_of_classes_alike(words, kind):
    tower = made(words, kind)
    for parameter in tower.fusion.parameters():
        nn.init.zeros_(parameter)
    photos, labels = F.normalize(torch.randn(40, 8), dim=1), torch.arange(40) % 5
    tower.fusion.spread.copy_(class_spread(photos, labels))
    dull = F.normalize(torch.randn(6, 8) + 20 * photos.mean(0), dim=1)  # whose scores hardly differ
    _, drawn, told = tower.fusion.fuse_at_weight(dull, F.normalize(torch.randn(6, 8), dim=1), 0.5)
    spread = [(part @ tower.fusion.spread).norm(dim=1) for part in (drawn, told)]
    torch.testing.assert_close(*spread)
    for weight, side in ((0.0, 1), (1.0, 0)):
        parts = tower.fusion.fuse_at_weight(dull, dull, weight)[1:]
        assert parts[1 - side].norm() < 0.2 * parts[side].norm()


@torch.no_grad()
def test_modulation_changes_the_drawing_only_where_there_is_a_text(words):
    tower = made(words, "modulation")
    image = torch.rand(2, 3, 32, 32)
    plain = F.normalize(tower.image_encoder(image, torch.zeros(2, dtype=torch.int64)), dim=1)
    torch.testing.assert_close(tower.fuse(image).vector, plain)
    owl, tree = (tower._encode_sketches(image, tower.encoder([word] * 2)) for word in ("owl", "tree"))
    assert not torch.allclose(owl, tree, atol=1e-4)
    assert not torch.allclose(owl, plain, atol=1e-4)
    with pytest.raises(EncoderError, match="needs the drawing's pixels"):
        tower.fuse(plain, ["owl", "tree"])


def test_queries_that_cant_be_made_are_named(words):
    tower = made(words, "late")
    with pytest.raises(EncoderError, match="the query is empty"):
        tower.fuse()
    with pytest.raises(EncoderError, match="2 sketches and 1 texts"):
        tower.fuse(torch.randn(2, 8), ["owl"])
    with pytest.raises(EncoderError, match="weights 0 and -1"):
        tower.fuse(torch.randn(1, 8), ["owl"], (0, -1))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_text_side_comes_back_from_its_folder(words, kind, tmp_path):
    tower = made(words, kind)
    tower.fusion.share.fill_(0.35)
    folder = tmp_path / "run" / "model"
    save_encoder(tower.image_encoder, folder, write_extra=lambda place: save_text_tower(tower, place))
    assert {file.name for file in (folder / "text").iterdir()} == {"config.json", "model.safetensors"}
    back = load_text_tower(folder, tower.image_encoder)
    assert back.weights == pytest.approx((0.35, 0.65))
    assert back.reads_labels == (kind == "concatenation")
    images, texts = torch.rand(2, 3, 32, 32), ["owl", "red house"]
    torch.testing.assert_close(back.fuse(images, texts).vector, tower.fuse(images, texts).vector)


def test_another_text_encoder_and_a_run_without_text_are_refused(words, tmp_path):
    tower = made(words, "late")
    save_text_tower(tower, tmp_path)
    facts = json.loads((tmp_path / "text/config.json").read_text())
    facts["text_encoder"]["sha256"] = "0" * 64
    (tmp_path / "text/config.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="trained with another text encoder"):
        load_text_tower(tmp_path, tower.image_encoder)
    with pytest.raises(RunError, match="takes no text"):
        load_text_tower(tmp_path / "absent", tower.image_encoder)


def test_ridge_is_the_minimum_and_left_out_rows_take_no_part():
    torch.manual_seed(0)
    x, y, w = torch.randn(12, 3), torch.randn(12, 2), torch.rand(12) + 0.1
    group = torch.arange(12) // 3
    found = fit_ridge(x, y, w, 0.7)

    def cost(weight, bias):
        return (w[:, None] * (y - x @ weight.T - bias).square()).sum() + 0.7 * weight.square().sum()

    best = cost(found.weight, found.bias)
    for _ in range(50):
        assert cost(found.weight + 0.05 * torch.randn(2, 3), found.bias + 0.05 * torch.randn(2)) > best
    outside = out_of_fold_predictions(x, y, w, group, 0.7, folds=4)
    for g in range(4):
        kept = group != g
        torch.testing.assert_close(
            outside[group == g], fit_ridge(x[kept], y[kept], w[kept], 0.7)(x[group == g])
        )


def test_the_kept_share_counts_results_of_either_side():
    gallery = torch.eye(6)
    sketch, text = torch.tensor([[3.0, 2, 1, 0, 0, 0]]), torch.tensor([[0.0, 0, 1.5, 3, 2, 0]])
    assert sketch_top_k_share(sketch, sketch, text, gallery, 3).item() == pytest.approx(2.5 / 3)
    assert sketch_top_k_share(sketch + text, sketch, text, gallery, 3).item() == pytest.approx(0.5)
    assert sketch_top_k_share(torch.tensor([[0.0, 0, 0, 0, 0, 1]]), sketch, text, gallery, 1).item() == 0.5


def test_average_precision_and_conflicts_are_what_a_slow_loop_says():
    torch.manual_seed(0)
    query, gallery = torch.randn(5, 4), torch.randn(20, 4)
    labels, answers = torch.arange(5) % 3, torch.arange(20) % 3
    fast = average_precision_per_query(query, labels, gallery, answers)
    for q in range(5):
        order = sorted(range(20), key=lambda i: -float(query[q] @ gallery[i]))
        hits, total = 0, 0.0
        for rank, item in enumerate(order, 1):
            if answers[item] == labels[q]:
                hits += 1
                total += hits / rank
        assert fast[q].item() == pytest.approx(total / hits)
    assert (labels[sample_conflicting_indices(labels)] != labels).all()


def test_the_table_makes_a_drawing_keep_the_share_it_is_given():
    """Texts score four times as wide as drawings: half the weight would leave drawings next to nothing."""
    torch.manual_seed(0)
    labels = torch.arange(200) % 10
    centre = F.normalize(torch.randn(10, 64), dim=1)
    gallery = F.normalize(centre[torch.arange(300) % 10] + 0.1 * torch.randn(300, 64), dim=1)
    sketch = F.normalize(centre[labels] + 0.5 * torch.randn(200, 64), dim=1)
    text = centre[labels]

    def mixed(s, t, weight):
        return F.normalize(weight * s + (1 - weight) * t, dim=1)

    table = mixing_table(mixed, sketch, text, labels, gallery)
    assert (table.diff() >= 0).all()
    assert table[10] > 0.55
    wrong = text[sample_conflicting_indices(labels, 7)]
    for step in (5, 10, 15):
        kept = (
            sketch_top_k_share(mixed(sketch, wrong, float(table[step])), sketch, wrong, gallery).mean().item()
        )
        assert kept == pytest.approx(step / 20, abs=0.1)
    noise = F.normalize(torch.randn(200, 64), dim=1)
    chosen = best_sketch_share(lambda s: mixed(noise, text, s), labels, gallery, torch.arange(300) % 10)
    assert chosen <= 0.3


def test_few_photos_leave_the_weight_as_it_is_asked_for(capsys):
    torch.manual_seed(0)
    labels = torch.arange(8) % 2
    vectors = F.normalize(torch.randn(2, 8, 6), dim=2)
    gallery = F.normalize(torch.randn(2, 6), dim=1)

    def mixed(s, t, weight):
        return F.normalize(weight * s + (1 - weight) * t, dim=1)

    table = mixing_table(mixed, vectors[0], vectors[1], labels, gallery[:1].expand(2, 6))
    assert torch.equal(table, torch.linspace(0, 1, len(table)))
    assert "too few photos" in capsys.readouterr().err
    gallery = F.normalize(torch.randn(9, 6), dim=1)
    assert (mixing_table(mixed, vectors[0], vectors[1], labels, gallery)[1:-1] < 1).all()


@torch.no_grad()
def test_modulation_goes_with_the_sketches_tower(words):
    towers = to_two_towers(load_encoder("timm:test_efficientnet", size=32, pretrained=False))
    assert stage_channels(towers) == stage_channels(towers.sketch) != []


def test_descriptions_tell_nothing_of_unseen_classes(tmp_path, capsys):
    file = tmp_path / "triples.tsv"
    file.write_text(
        "CapableOf\tcat\tclimb up trees\nAtLocation\tcat\ta street\nIsA\tcat\tsea turtle, nearly\n"
    )
    with forbid_unseen_classes(["tree", "sea turtle"]):
        assert load_class_clauses(f"conceptnet:{file}", ("cat",)) == {"cat": ("is found at a street",)}
    assert "clauses left out because they name unseen classes: 2" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="has no statement about any class, such as owl"):
        load_class_clauses(f"conceptnet:{file}", ("owl",))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_class_clauses(f"conceptnet:{file}", ("cat",))


def test_descriptions_come_with_the_name_and_without_it(tmp_path):
    file = tmp_path / "triples.tsv"
    file.write_text(
        "IsA\tdog\tanimal\nCapableOf\tDog\tbark\nUsedFor\tcat\tpet\nHasA\tdog\tdog tag\nFoo\tdog\tx\n"
    )
    clauses = load_class_clauses(f"conceptnet:{file}", ("dog", "teddy_bear"))
    assert clauses == {"dog": ("is a animal", "can bark", "has dog tag")}
    assert clause_sentences("dog", clauses["dog"]) == [
        "a dog is a animal, can bark, has dog tag",
        "something that is a animal, can bark",
    ]


def test_blocks_of_queries_change_no_figure(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    query, sketch, text, gallery = (
        F.normalize(torch.randn(n, 6, generator=draw), dim=1) for n in (9, 9, 9, 40)
    )
    labels, of = torch.arange(9) % 3, torch.arange(40) % 3
    whole = (
        average_precision_per_query(query, labels, gallery, of),
        sketch_top_k_share(query, sketch, text, gallery, 5),
    )
    monkeypatch.setattr("ssl_sbir.fusion.calibration.MAX_SCORES_AT_ONCE", 80)
    parts = (
        average_precision_per_query(query, labels, gallery, of),
        sketch_top_k_share(query, sketch, text, gallery, 5),
    )
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
