"""Features made elsewhere: the result's shape, what is refused, files, codes, instances."""

import json

import numpy as np
import pytest
import slow_definitions as slow
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation import PRESETS, evaluate_embeddings
from ssl_sbir.evaluation.embeddings_file import read_embeddings

NAMES = ["cat", "scissors", "my_own_thing", "Axolotl", "wheelchair"]


def refused(*sides, **options):
    with pytest.raises(EvaluationError) as error:
        evaluate_embeddings(*sides, draws=10, **options)
    assert error.value.hint
    return error.value.message


def test_all_presets_are_in_the_json_under_their_names(features):
    facts = json.loads(json.dumps(evaluate_embeddings(*features, draws=50).to_json()))
    assert list(facts["protocols"]) == list(PRESETS)
    assert set(facts["protocols"]["standard"]) >= {"mAP@all", "mAP@200", "P@100", "P@200", "macro"}
    assert "mAP@all" not in facts["protocols"]["yelamarthi"]
    assert "P@100" not in facts["protocols"]["clip-at"]
    assert facts["protocols"]["clip-at"]["gallery"] == 90
    assert facts["protocols"]["zse-strided"]["queries"] == 5
    assert facts["counts"]["queries"] == 90


def test_micro_and_macro_are_means_of_the_slow_loop(features):
    query, ql, gallery, gl = features
    found = evaluate_embeddings(*features, protocols=["sake"], draws=50).protocols["sake"]
    values = [
        slow.preset(
            "sake", slow.cosine(q.astype(float), gallery.astype(float)), (gl == label).astype(int).tolist()
        )
        for q, label in zip(query, ql, strict=True)
    ]
    for metric, mean in found.micro.items():
        column = np.array([value[metric] for value in values])
        assert mean == pytest.approx(column.mean(), abs=1e-5)
        assert found.macro[metric] == pytest.approx(
            np.mean([column[ql == c].mean() for c in range(5)]), abs=1e-5
        )
        interval = found.interval_queries[metric]
        assert interval.low < mean < interval.high


def test_one_ranking_has_an_ap_at_200_for_each_denominator(features):
    query, ql, gallery, gl = features
    found = evaluate_embeddings(
        query, ql, np.tile(gallery, (4, 1)) + 0, np.tile(gl, 4), draws=10
    ).denominators
    assert found["hits"] > found["min(k,R)"] > found["R"]
    assert found["min(k,R)"] == pytest.approx(found["k"], rel=0.2)


def test_queries_without_a_relevant_item_are_reported_and_left_out(features):
    query, ql, gallery, gl = features
    some = gl != 2
    found = evaluate_embeddings(query, ql, gallery[some], gl[some], classes=NAMES, draws=10)
    assert found.counts["without_relevant"] == (ql == 2).sum()
    assert found.counts["classes_without_photos"] == ["my_own_thing"]
    kept = evaluate_embeddings(query[ql != 2], ql[ql != 2], gallery[some], gl[some], draws=10)
    # zse-strided takes other sketches when some are gone, clip-at draws other photos
    for name in ("standard", "sake", "zse", "sempcyc", "doodle2search", "yelamarthi"):
        assert found.protocols[name].micro == pytest.approx(kept.protocols[name].micro, nan_ok=True)
    assert "my_own_thing" in refused(query, ql, gallery[some], gl[some], classes=NAMES, missing="error")
    assert "no photo of 1 class(es)" in refused(query[ql == 2], ql[ql == 2], gallery[some], gl[some])


def test_chance_is_what_random_orders_score(features):
    _, ql, _, gl = features
    random = np.random.default_rng(1)
    found = evaluate_embeddings(*features, draws=10).chance
    assert found["precision"] == pytest.approx(np.mean([(gl == label).mean() for label in ql]))
    scores = random.random((400, 260)).tolist()
    values = [
        slow.preset("standard", s, (gl == label).astype(int).tolist())["mAP@all"]
        for s, label in zip(scores, np.tile(ql, 5), strict=False)
    ]
    assert found["mAP@all"] == pytest.approx(np.mean(values), abs=0.004)


def test_imagenet_classes_are_named_and_the_others_have_their_own_mean(features):
    found = evaluate_embeddings(*features, classes=NAMES, protocols=["standard"], draws=10)
    assert found.imagenet["classes"] == [
        "Axolotl",
        "cat",
    ]  # the first by ImageNet's own label, the second by the table
    ap = found.values["standard"]["mAP@all"].numpy()
    others = np.isin(features[1], [1, 2, 4])
    assert found.imagenet["without_imagenet"]["standard"]["mAP@all"] == pytest.approx(ap[others].mean())


def test_binary_codes_are_fitted_on_training_features_only(features):
    query, ql, gallery, gl = features
    assert "transductive" in refused(*features, bits=[16])
    training = np.random.default_rng(0).standard_normal((200, 24)).astype(np.float32) + gallery[:200]
    one = evaluate_embeddings(*features, bits=[16, 24], training=training, draws=10).codes
    assert set(one) == {"16", "24"}
    assert 0.25 < one["16"]["standard"]["mAP@all"] < 0.8
    half = evaluate_embeddings(query[:9], ql[:9], gallery, gl, bits=[16], training=training, draws=10).codes
    again = evaluate_embeddings(
        query[:9], ql[:9], gallery[::-1].copy(), gl[::-1].copy(), bits=[16], training=training, draws=10
    )
    # expected ties: the gallery's order doesn't matter
    assert half["16"]["standard"] == pytest.approx(again.codes["16"]["standard"])


def test_instances_are_found_in_the_whole_gallery_and_in_their_class():
    gallery = np.eye(8, dtype=np.float32) + 0.01
    query = gallery[:4] + np.roll(gallery, 4, 0)[:4] * np.array([[0.5], [2], [0.5], [2]], np.float32)
    labels = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    found = evaluate_embeddings(
        query,
        labels[:4],
        gallery,
        labels,
        query_instances=[0, 1, 2, -1],
        gallery_instances=range(8),
        draws=10,
    ).instances
    assert found["whole gallery"] == {"acc@1": pytest.approx(2 / 3), "acc@5": 1, "acc@10": 1, "queries": 3}
    assert found["own class"]["acc@1"] == 1


def test_broken_features_are_named(features):
    query, ql, gallery, gl = features
    bad = query.copy()
    bad[7, 3] = np.nan
    assert "query row 7" in refused(bad, ql, gallery, gl)
    bad = gallery.copy()
    bad[5], bad[9] = np.inf, 0
    assert "gallery row 5 has NaN or infinite" in refused(query, ql, bad, gl)
    bad[5] = 1
    assert "gallery row 9 has only zeros" in refused(query, ql, bad, gl)
    assert "query_labels has shape [89]" in refused(query, ql[1:], gallery, gl)
    assert "1 item" in refused(query, ql, gallery[:1], gl[:1])
    assert "24 features" in refused(query, ql, gallery[:, :5], gl)
    assert "float" in refused(query, ql.astype(float), gallery, gl)
    assert "shape" in refused(query[0], ql, gallery, gl)
    assert "Did you mean 'standard'" in refused(query, ql, gallery, gl, protocols=["standart"])
    assert "no name" in refused(query, ql, gallery, gl, classes=["one"])


def test_a_tie_rule_can_be_asked_for():
    random = np.random.default_rng(0)
    gallery = np.repeat(np.eye(4, dtype=np.float32), 10, 0)
    query, ql, gl = np.eye(4, dtype=np.float32) + 0.1, np.arange(4), random.integers(0, 4, 40)
    means = {
        ties: evaluate_embeddings(query, ql, gallery, gl, ties=ties, draws=10)
        .protocols["standard"]
        .micro["mAP@all"]
        for ties in ("stable", "grouped", "expected")
    }
    assert len(set(means.values())) == 3


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_command_reads_npz_and_safetensors_alike(features, tmp_path):
    arrays = dict(zip(("query", "query_labels", "gallery", "gallery_labels"), features, strict=True))
    np.savez(tmp_path / "f.npz", **arrays)
    save_file({name: torch.from_numpy(a) for name, a in arrays.items()}, tmp_path / "f.safetensors")
    (tmp_path / "f.csv").write_text("label,name\n" + "\n".join(f"{i},{n}" for i, n in enumerate(NAMES)))
    results = [run("--embeddings", tmp_path / f"f.{kind}", "--json") for kind in ("npz", "safetensors")]
    one, other = (json.loads(result.stdout) for result in results)
    assert one["protocols"] == other["protocols"]
    assert {c["name"] for c in one["classes"]} == set(NAMES)
    told = run("--embeddings", tmp_path / "f.npz", "--protocol", "sake")
    assert told.exit_code == 0
    assert told.stdout.startswith("integrity audit passed")
    assert "zse" not in told.stdout


def test_names_can_stand_in_the_place_of_labels(features, tmp_path):
    query, ql, gallery, gl = features
    np.savez(tmp_path / "f.npz", query=query, gallery=gallery)
    lines = [f"query,{NAMES[label]}" for label in ql] + [f"gallery,{NAMES[label]}" for label in gl]
    (tmp_path / "f.csv").write_text("set,name\n" + "\n".join(lines))
    arrays = read_embeddings(tmp_path / "f.npz").arrays
    found = evaluate_embeddings(**arrays, protocols=["standard"], draws=10)
    want = evaluate_embeddings(*features, protocols=["standard"], draws=10)
    assert found.protocols["standard"].micro == want.protocols["standard"].micro


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda a: a["query"].__setitem__((3, 0), np.nan), "query row 3"),
        (lambda a: a["gallery"].__setitem__(4, 0), "only zeros"),
        (lambda a: a.__setitem__("gallery_labels", a["gallery_labels"][1:]), "gallery_labels"),
        (
            lambda a: a["gallery_labels"].__setitem__(a["gallery_labels"] == 3, 1),
            "the gallery has no photo of",
        ),
        (
            lambda a: (
                a.__setitem__("gallery", a["gallery"][:1]),
                a.__setitem__("gallery_labels", a["gallery_labels"][:1]),
            ),
            "1 item",
        ),
        (lambda a: a.pop("gallery"), "no array 'gallery'"),
        (lambda a: a.__setitem__("query_labels", np.array([None] * 90, object)), "can't be read"),
    ],
)
def test_bad_files_are_refused_with_a_cause(features, tmp_path, spoil, told):
    arrays = dict(
        zip(("query", "query_labels", "gallery", "gallery_labels"), map(np.copy, features), strict=True)
    )
    spoil(arrays)
    np.savez(tmp_path / "f.npz", **arrays)
    result = run("--embeddings", tmp_path / "f.npz", "--json")
    assert result.exit_code == 2
    assert told in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"query_instances": np.arange(90)}, "only one side has instances"),
        ({"gallery_instances": np.arange(90)}, "only one side has instances"),
        ({"strides": (0, 1)}, "strides are (0, 1)"),
        ({"bits": (16,), "training": np.ones((40, 3))}, "training features have 3 columns"),
        ({"bits": (16,), "training": np.ones(40)}, "training has shape [40]"),
        ({"bits": (16,), "training": np.full((40, 12), np.nan)}, "training row 0"),
    ],
)
def test_what_goes_beside_the_features_is_checked(features, options, told):
    assert told in refused(*features, **options)


def test_a_file_that_is_no_archive_or_a_damaged_one_is_refused(features, tmp_path):
    np.save(tmp_path / "one.npy", features[0])
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    np.savez_compressed(tmp_path / "two.npz", query=features[0])
    broken = bytearray((tmp_path / "two.npz").read_bytes())
    broken[200:260] = bytes(60)
    (tmp_path / "two.npz").write_bytes(broken)
    for name in ("one.npz", "two.npz"):
        with pytest.raises(EvaluationError, match="can't be read"):
            read_embeddings(tmp_path / name)


def test_lacking_classes_can_be_left_out_on_purpose(features, tmp_path):
    query, ql, gallery, gl = features
    np.savez(
        tmp_path / "f.npz", query=query, query_labels=ql, gallery=gallery[gl != 1], gallery_labels=gl[gl != 1]
    )
    result = run("--embeddings", tmp_path / "f.npz", "--json", "--exclude-missing")
    assert json.loads(result.stdout)["counts"]["without_relevant"] == (ql == 1).sum()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--embeddings", "no/such.npz"], "no such file"),
        (["--embeddings", __file__], "neither .npz nor .safetensors"),
        ([], "nothing to evaluate"),
        (["some-run"], "no data to evaluate on"),
        (["--embeddings", "x.npz", "--protocol", "zsee"], "Did you mean 'zse'"),
        (["--embeddings", "x.npz", "--ties", "stabel"], "Did you mean 'stable'"),
        (["--embeddings", "x.npz", "--data", "folder:x"], "can't be combined with --data"),
    ],
)
def test_bad_requests_are_refused_with_a_cause(arguments, told):
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr


def test_damaged_files_are_refused(tmp_path):
    for name in ("f.npz", "f.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not really")
        result = run("--embeddings", tmp_path / name)
        assert result.exit_code == 2
        assert "can't be read" in result.stderr
