"""The published constants of protocols and splits, as tables of data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssl_sbir.data.splits import Split
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation import PRESETS, evaluate_embeddings
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder, strides_of_split
from ssl_sbir.evaluation.generalised import generalized_test_set
from ssl_sbir.evaluation.metrics.aggregate import MetricSettings, chance_metrics
from ssl_sbir.evaluation.metrics.bootstrap import BOOTSTRAP_DRAWS
from ssl_sbir.evaluation.metrics.measures import AveragePrecision, PrecisionAtK
from ssl_sbir.evaluation.metrics.protocols import parse_tie_rule, resolve_protocols
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures

# name: (similarity, AP over the whole ranking, denominator of AP@200, of P@k, ties, gallery); None: not reported
PROTOCOLS = {
    "standard": ("cosine", "plain", "min(k,R)", "k", "stable", "all"),
    "sake": ("cosine", "voc", "min(k,R)", "min(k,N)", "stable", "all"),
    "zse": ("cosine", "voc", "min(k,R)", "min(k,R)", "stable", "all"),
    "zse-strided": ("cosine", "voc", "min(k,R)", "min(k,R)", "stable", "strided"),
    "sempcyc": ("euclidean", "plain", "hits", "min(k,N)", "grouped", "all"),
    "doodle2search": ("euclidean", "plain", "hits", "rank k+1", "grouped", "all"),
    "yelamarthi": ("cosine", None, "k", "k", "stable", "all"),
    "clip-at": ("cosine", "plain", None, None, "stable", "one photo per query"),
}
# name: (seen, unseen, chance precision, every s-th sketch, every t-th photo of zse-strided)
SPLITS = {
    "sketchy-sake-25": (100, 25, 0.040, 20, 10),
    "sketchy-eccv-21": (104, 21, 0.048, 20, 10),
    "sketchy-sempcyc-25": (100, 25, 0.040, 20, 10),
    "tuberlin-sake-30": (220, 30, 0.033, 3, 20),
    "quickdraw-zse-30": (80, 30, 0.033, 120, 30),
}
# name: (test sketches, test photos, of which zse-strided takes)
STRIDED_SIZES = {
    "sketchy-sake-25": (15_229, 17_101, 762, 1_711),
    "tuberlin-sake-30": (2_400, 27_989, 800, 1_400),
    "quickdraw-zse-30": (92_291, 54_151, 770, 1_806),
}


def test_the_presets_are_the_published_ones():
    assert list(PRESETS) == list(PROTOCOLS)
    assert [protocol.name for protocol in resolve_protocols()] == list(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_preset_is_made_of_its_published_parts(name):
    similarity, envelope, average_over, precision_over, ties, gallery = PROTOCOLS[name]
    preset = PRESETS[name]
    assert (preset.name, preset.similarity, preset.ties, preset.gallery) == (name, similarity, ties, gallery)
    wanted = {}
    if envelope:
        wanted["mAP@all"] = AveragePrecision(envelope, None, "R", ties)
    if average_over:
        wanted["mAP@200"] = AveragePrecision(envelope or "plain", 200, average_over, ties)
    if precision_over:
        wanted |= {f"P@{k}": PrecisionAtK(k, precision_over, ties) for k in (100, 200)}
    assert preset.build_measures() == wanted


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_printed_definition_names_every_part(name):
    similarity, envelope, average_over, precision_over, ties, gallery = PROTOCOLS[name]
    kind = {"voc": "AP with the VOC envelope", "plain": "plain AP", None: None}[envelope]
    precision = "relevance of rank k+1" if precision_over == "rank k+1" else f"÷ {precision_over}"
    parts = [
        similarity,
        kind,
        average_over and f"AP@k ÷ {average_over}",
        precision_over and f"P@k {precision}",
        f"{ties} ties",
        f"gallery: {gallery}",
    ]
    assert PRESETS[name].format_definition() == ", ".join(part for part in parts if part)


def test_a_tie_rule_replaces_each_preset_s_own_but_the_envelope_has_no_expectation():
    expected = {protocol.name: protocol.ties for protocol in resolve_protocols(ties="expected")}
    assert expected == {
        name: "stable" if parts[1] == "voc" else "expected" for name, parts in PROTOCOLS.items()
    }
    assert {protocol.ties for protocol in resolve_protocols(ties="grouped")} == {"grouped"}
    assert [parse_tie_rule(name) for name in (None, "stable", "grouped", "expected")] == [
        None,
        "stable",
        "grouped",
        "expected",
    ]
    with pytest.raises(EvaluationError, match="unknown tie rule"):
        parse_tie_rule("random")


@pytest.mark.parametrize("name", SPLITS)
def test_splits_have_their_published_classes_chance_and_strides(name):
    seen, unseen, chance, *strides = SPLITS[name]
    split = Split.load(name)
    assert (len(split.seen), len(split.unseen)) == (seen, unseen)
    assert not set(split.seen) & set(split.unseen)
    assert strides_of_split(split) == tuple(strides)
    labels = torch.arange(unseen).repeat(4)
    balanced = RetrievalFeatures(
        torch.ones(len(labels), 1), labels, torch.ones(len(labels), 1), labels, split.unseen
    )
    assert round(chance_metrics(balanced)["precision"], 3) == chance


def test_the_two_test_sets_called_sketchy_25_share_four_classes():
    sake = set(Split.load("sketchy-sake-25").unseen)
    assert sake & set(Split.load("sketchy-sempcyc-25").unseen) == {"bell", "squirrel", "tank", "wheelchair"}
    assert sake & set(Split.load("sketchy-eccv-21").unseen) == {"scissors", "tree", "wheelchair", "windmill"}


@pytest.mark.parametrize("name", STRIDED_SIZES)
def test_zse_strided_takes_the_published_part_of_the_test_set(name):
    queries, photos, *part = STRIDED_SIZES[name]
    sizes = PRESETS["zse-strided"].query_and_gallery_sizes(
        torch.zeros(queries, dtype=torch.int64),
        torch.zeros(photos, dtype=torch.int64),
        strides_of_split(Split.load(name)),
    )
    assert sizes == tuple(part)


@pytest.mark.parametrize(
    ("data", "part"), [("sketchy", (2, 4)), ("tuberlin", (12, 2)), ("quickdraw", (1, 2))]
)
def test_an_evaluation_takes_the_strides_of_its_data_set(eyes, drawings, split, data, part):
    named = replace(split, name=f"{data}-mine-3")
    found = evaluate_encoder(eyes, drawings, named, protocols=["zse-strided"], draws=10).result
    strided = found.protocols["zse-strided"]
    assert (strided.queries + strided.without_relevant, strided.gallery) == part


def test_features_are_strided_as_sketchy_and_resampled_a_thousand_times_by_default(features):
    assert MetricSettings([]).strides == (20, 10)
    assert BOOTSTRAP_DRAWS == MetricSettings([]).draws == 1000
    strided = evaluate_embeddings(*features, protocols=["zse-strided"], draws=10).protocols["zse-strided"]
    assert (strided.queries, strided.gallery) == (5, 26)  # of 90 and 260


@pytest.mark.parametrize("ranks", [[1, 3, 201], range(61, 301)], ids=["R below 200", "R above 200"])
def test_four_denominators_divide_one_sum(ranks):
    """300 photos at growing angles from one sketch, the relevant ones at known ranks."""
    angles = np.linspace(0.01, 1.5, 300)
    labels = np.isin(np.arange(1, 301), ranks).astype(int)
    gallery = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = evaluate_embeddings([[1.0, 0.0]], [1], gallery, labels, draws=10).denominators
    first = [rank for rank in ranks if rank <= 200]
    total = sum(number / rank for number, rank in enumerate(first, start=1))
    assert found == pytest.approx(
        {
            "hits": total / len(first),
            "min(k,R)": total / min(200, len(ranks)),
            "R": total / len(ranks),
            "k": total / 200,
        }
    )


def test_ocean_adds_a_fifth_of_the_unseen_count_and_drclip_of_the_seen_count(drawings):
    split = Split("one", ("bar", "circle", "cross", "ring", "square"), ("triangle",))
    added = {name: generalized_test_set(name, drawings, split) for name in ("ocean", "drclip")}
    assert {name: len(rows.classes) for name, rows in added.items()} == {"ocean": 0, "drclip": 1}
    assert {name: len(rows.gallery) for name, rows in added.items()} == {"ocean": 12, "drclip": 24}
