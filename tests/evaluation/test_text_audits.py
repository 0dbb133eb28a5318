"""Text audits against slow loops: who decides, Shapley shares, composition gap."""

import pytest
import torch
import torch.nn.functional as F

from ssl_sbir.evaluation.audits.text_audits import composition_gap, shapley_shares, text_audit
from ssl_sbir.evaluation.report.summary import _format_text_audit
from ssl_sbir.fusion.calibration import sample_conflicting_indices


def world(believes: float, seed=0):
    """Drawings and texts of six classes near their class's photos, mixed with a fixed weight of the drawing."""
    torch.manual_seed(seed)
    centre = F.normalize(torch.randn(6, 32), dim=1)
    labels, answers = torch.arange(60) % 6, torch.arange(90) % 6
    gallery = F.normalize(centre[answers] + 0.2 * torch.randn(90, 32), dim=1)
    sketch = F.normalize(centre[labels] + 0.2 * torch.randn(60, 32), dim=1)
    texts = [f"class {label}" for label in labels.tolist()]

    def fuse(drawn, told, share):
        weight = believes if share is None else share
        words = None if told is None else centre[[int(text.split()[1]) for text in told]]
        if words is None:
            return sketch
        return F.normalize(weight * sketch + (1 - weight) * words, dim=1) if drawn else words

    return fuse, texts, labels, gallery, answers


def test_a_text_that_decides_is_called_so_and_a_drawing_that_keeps_its_share_is_not():
    assert text_audit(*world(0.7), 0.5, draws=20)["ok"]
    audit = text_audit(*world(0.02), 0.5, draws=20)
    assert audit["ok"] is False
    assert audit["summary"].startswith("TEXT DECIDES")
    assert audit["conflict"]["text"] > 0.9
    assert audit["conflict"]["kept"]["mean"] < 0.1


def test_figures_are_what_slow_loops_say():
    fuse, texts, labels, gallery, answers = world(0.5)
    audit = text_audit(fuse, texts, labels, gallery, answers, 0.5, draws=20)
    other = sample_conflicting_indices(labels, 0)
    against = fuse(True, [texts[place] for place in other.tolist()], None)
    drawing = text = 0.0
    for q in range(60):
        first = sorted(range(90), key=lambda i: -float(against[q] @ gallery[i]))[:10]
        drawing += sum(int(answers[i] == labels[q]) for i in first) / 600
        text += sum(int(answers[i] == labels[other[q]]) for i in first) / 600
    assert audit["conflict"]["drawing"] == pytest.approx(drawing)
    assert audit["conflict"]["text"] == pytest.approx(text)
    kept = [one["kept"] for one in audit["sweep"]]
    assert kept[0] < 0.05 < 0.95 < kept[-1]
    assert audit["found"]["both"]["low"] <= audit["found"]["both"]["mean"] <= audit["found"]["both"]["high"]


def test_shapley_shares_and_the_gap_by_hand():
    labels, answers = torch.tensor([0, 1]), torch.tensor([0, 1, 1, 0])
    columns = {
        "sketch": torch.tensor([0.6, 0.6]),
        "text": torch.tensor([0.8, 0.8]),
        "both": torch.tensor([1.0, 0.8]),
    }
    found = shapley_shares(columns, labels, answers)
    assert found["chance"] == 0.5
    assert found["sketch"] == pytest.approx(((0.6 - 0.5) + (0.9 - 0.8)) / 2)
    assert found["text"] == pytest.approx(((0.8 - 0.5) + (0.9 - 0.6)) / 2)
    assert found["sketch_share"] == pytest.approx(0.1 / 0.4)
    t, f = True, False
    shares = composition_gap(
        torch.tensor([t, f, f, t]), torch.tensor([f, f, t, t]), torch.tensor([t, t, f, t])
    )
    assert shares == {
        "one alone": 0.75,
        "sketch": 0.5,
        "text": 0.5,
        "both": 0.75,
        "only both": 0.25,
        "lost": 0.25,
    }


def test_the_terminal_tells_it():
    audit = text_audit(*world(0.5), 0.5, draws=20)

    lines = _format_text_audit({"audits": {"text dominance": audit}})
    assert "drawing and text, mAP@all: sketch" in lines[0]
    assert "the drawing keeps" in lines[1]
    assert _format_text_audit({"audits": {}}) == []
