"""Leaks and copies are caught; honest evaluations pass."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.evaluation import evaluate_embeddings
from ssl_sbir.evaluation.audits.retrieval_audits import diversity_audit, label_in_features_audit
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder


def test_an_honest_evaluation_passes(evaluated):
    assert evaluated.result.verdict.startswith("integrity audit passed")
    assert evaluated.result.audits["label leak"]["ok"] is True


def test_a_model_that_is_told_the_labels_is_caught(eyes, drawings, split):
    def leaking(encoder, pack, manifest, rows):
        vectors = embed_rows(encoder, pack, manifest, rows, cache=False)
        labels = torch.nn.functional.one_hot(torch.from_numpy(manifest.label[rows]).long(), 6)
        return torch.cat([vectors, 100 * labels], 1)

    found = evaluate_encoder(eyes, drawings, split, embedder=leaking, draws=10)
    assert found.result.audits["label leak"]["moved"] == 36
    assert found.result.verdict.startswith("INTEGRITY AUDIT FAILED")
    assert found.result.protocols["standard"].micro["mAP@all"] > 0.95  # which would have been believed


def test_a_model_that_is_told_the_texts_is_caught(eyes, drawings, split):
    from dataclasses import replace

    from ssl_sbir.data.string_column import StringColumn

    texts = StringColumn.from_strings(drawings.classes)
    described = replace(drawings, texts=texts, text=drawings.label)

    def leaking(encoder, pack, manifest, rows):
        vectors = embed_rows(encoder, pack, manifest, rows, cache=False)
        told = torch.tensor([[float(sum(map(ord, manifest.text_of_row(int(row)))))] for row in rows])
        return torch.cat([vectors, told / 100], 1)

    found = evaluate_encoder(eyes, described, split, embedder=leaking, draws=10).result
    assert found.audits["label leak"]["ok"] is False


@pytest.mark.parametrize("appended", ["number", "one-hot"])
def test_gallery_vectors_with_the_label_appended_are_caught(features, appended):
    query, ql, gallery, gl = features
    extra = (
        (lambda labels: labels[:, None]) if appended == "number" else (lambda labels: np.eye(5)[labels] * 3)
    )
    query, gallery = np.hstack([query, extra(ql)]), np.hstack([gallery, extra(gl)])
    found = evaluate_embeddings(query, ql, gallery, gl, draws=10)
    assert found.verdict.startswith("INTEGRITY AUDIT FAILED: LEAK")
    assert found.audits["label in features"]["features"][0] == 24


def test_a_duplicated_gallery_is_caught(features):
    query, ql, gallery, gl = features
    found = evaluate_embeddings(query, ql, np.tile(gallery, (2, 1)), np.tile(gl, 2), draws=10)
    assert "260 of 520 gallery vectors are exact copies" in found.verdict


def test_copied_images_are_caught_by_their_pixels(eyes, unlike, split, tmp_path):
    import shutil

    from ssl_sbir.data.readers import open_data

    shutil.copytree(unlike, tmp_path / "data")
    photos = tmp_path / "data" / "photo"
    shutil.copy(photos / "ring" / "00.png", photos / "ring" / "copy.png")
    shutil.copy(photos / "ring" / "01.png", photos / "bar" / "copy.png")
    found = evaluate_encoder(eyes, open_data(f"folder:{tmp_path / 'data'}"), split, draws=10).result
    audit = found.audits["gallery copies"]
    assert (audit["copies"], audit["in_seen_classes"]) == (1, 1)
    assert "1 of 37 unseen photos are copies of another" in found.verdict


def test_training_on_unseen_names_is_caught(eyes, drawings, split):
    found = evaluate_encoder(eyes, drawings, split, trained_classes=["bar", "Ring"], draws=10).result
    assert "training used 1 unseen class(es): ring" in found.verdict


def test_training_on_unlabelled_images_of_unseen_classes_is_said_first(eyes, drawings, split):
    found = evaluate_encoder(
        eyes, drawings, split, trained_classes=["bar", "Ring"], labelled_classes=["bar"], draws=10
    ).result
    assert found.verdict.startswith("TRANSDUCTIVE: training saw unlabelled images of 1 unseen classes")
    assert "integrity audit passed" in found.verdict


def test_diversity_tells_one_answer_from_many():
    labels = torch.arange(6).repeat_interleave(20)
    gallery = torch.eye(120)
    query = torch.eye(120) + 0.001 * torch.rand(120, 120)
    alike = query[labels * 20]
    assert diversity_audit(alike, labels, gallery, 5)["shared"] == 1
    varied = diversity_audit(query, labels, gallery, 1)
    assert varied["shared"] == 0
    assert varied["covered"] == 1
    assert diversity_audit(query[::20], labels[::20], gallery, 5)["shared"] is None


def test_diversity_equals_a_loop_over_pairs():
    draw = torch.Generator().manual_seed(0)
    query, gallery = torch.randn(30, 6, generator=draw), torch.randn(50, 6, generator=draw)
    labels = torch.arange(3).repeat_interleave(10)
    found = diversity_audit(query, labels, gallery, 7)
    unit = F.normalize(gallery, dim=1)
    lists = [set(ids.tolist()) for ids in (F.normalize(query, dim=1) @ unit.T).topk(7).indices]
    pairs = [
        (a, b) for i, a in enumerate(lists) for j, b in enumerate(lists) if i < j and labels[i] == labels[j]
    ]
    assert found["shared"] == pytest.approx(np.mean([len(a & b) / 7 for a, b in pairs]))
    assert found["jaccard"] == pytest.approx(np.mean([len(a & b) / len(a | b) for a, b in pairs]))
    assert found["covered"] == len(set().union(*lists)) / 50
    inside = [float(1 - unit[i] @ unit[j]) for ids in lists for i in ids for j in ids if i != j]
    assert found["spread"] == pytest.approx(np.mean(inside), abs=1e-5)


def test_a_label_is_found_in_whichever_feature_it_hides():
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat_interleave(8)
    gallery = torch.randn(80, 70, generator=draw)
    assert label_in_features_audit(gallery, labels)["ok"]
    gallery[:, 67] = labels.float()
    assert label_in_features_audit(gallery, labels)["features"] == [67]
