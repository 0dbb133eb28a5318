"""An encoder on images: protocols, centring, generalised galleries, the frozen row, files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.errors import DataError, EvaluationError
from ssl_sbir.evaluation import evaluate_embeddings
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder
from ssl_sbir.evaluation.generalised import generalized_test_set
from ssl_sbir.evaluation.report.write_results import save_evaluation


def test_figures_are_those_of_the_embeddings(evaluated, eyes):
    test = evaluated.test_set
    query, gallery = (
        embed_rows(eyes, test.pack, test.manifest, rows) for rows in (test.queries, test.gallery)
    )
    labels = test.manifest.label
    want = evaluate_embeddings(query, labels[test.queries], gallery, labels[test.gallery], draws=100)
    assert {n: p.micro for n, p in evaluated.result.protocols.items()} == {
        n: p.micro for n, p in want.protocols.items()
    }
    assert set(np.asarray(test.manifest.classes)[np.unique(labels[test.gallery])]) == set(test.split.unseen)


def test_the_ranking_is_by_cosine_and_knows_what_is_right(evaluated):
    ranking, features = evaluated.ranking, evaluated.features
    cosines = torch.nn.functional.cosine_similarity(features.query[:, None], features.gallery[None], dim=2)
    torch.testing.assert_close(
        ranking.scores, cosines.sort(1, descending=True).values[:, :20], atol=1e-5, rtol=0
    )
    right = features.gallery_labels[ranking.ids] == features.query_labels[:, None]
    assert torch.equal(ranking.relevant, right)


def test_centring_takes_the_means_of_seen_images_only(eyes, drawings, split):
    found = evaluate_encoder(eyes, drawings, split, centre="train", draws=10)
    pack = found.test_set.pack
    for domain, rows, features in (
        (Domain.SKETCH, found.test_set.queries, found.features.query),
        (Domain.PHOTO, found.test_set.gallery, found.features.gallery),
    ):
        seen = embed_rows(eyes, pack, drawings, drawings.find_rows(domain, split.seen))
        want = embed_rows(eyes, pack, drawings, rows) - seen.mean(0)
        torch.testing.assert_close(features, want, atol=1e-5, rtol=1e-4)
    assert found.facts["centre"] == "train"


def test_the_frozen_encoder_has_its_row(eyes, drawings, split):
    found = evaluate_encoder(eyes, drawings, split, frozen=eyes, draws=10).result
    assert found.frozen["sake"] == pytest.approx(found.protocols["sake"].micro)


def test_four_meanings_of_generalised(drawings, split):
    def counts(name):
        rows = generalized_test_set(name, drawings, split)
        return len(rows.queries), len(rows.gallery)

    assert counts("all-seen") == (36, 72)
    assert counts("sempcyc") == (36 + 7, 36 + 7)
    assert counts("ocean") == (36, 36 + 12)  # round(.2 · 3 unseen) = 1 seen class
    assert counts("drclip") == (36, 36 + 12)
    with pytest.raises(EvaluationError, match="Did you mean 'ocean'"):
        generalized_test_set("oceans", drawings, split)


def test_seen_photos_make_it_harder(eyes, drawings, split):
    found = evaluate_encoder(
        eyes, drawings, split, gzs=["all-seen", "sempcyc"], protocols=["standard"], draws=10
    ).result
    whole = found.generalised["all-seen"]
    assert whole["protocols"]["standard"]["mAP@all"] < found.protocols["standard"].micro["mAP@all"]
    assert whole["gallery"] == 72


def test_codes_are_fitted_on_seen_classes(eyes, drawings, split):
    found = evaluate_encoder(eyes, drawings, split, bits=[16], protocols=["standard"], draws=10).result
    assert 0 < found.codes["16"]["standard"]["mAP@all"] < 1


def test_instances_come_from_the_data(sketchy_mini, eyes):
    from ssl_sbir.data.readers import open_data
    from ssl_sbir.data.splits import Split

    manifest = open_data(f"folder:{sketchy_mini}")
    few = Split("few", ("cat", "ape"), ("tank", "tree"))
    manifest = manifest.select_rows(manifest.find_rows(classes=few.seen + few.unseen))
    found = evaluate_encoder(eyes, manifest, few, draws=10).result
    assert found.instances["own class"]["queries"] == 50
    assert found.imagenet["others"] == ["tree"]
    assert found.facts["split"]["unseen"] == ["tank", "tree"]


def test_an_unseen_class_without_photos_is_reported(eyes, drawings, split):
    label = drawings.classes.index("ring")
    keep = ~((drawings.label == label) & (drawings.domain == Domain.PHOTO))
    fewer = drawings.select_rows(np.flatnonzero(keep))
    assert evaluate_encoder(eyes, fewer, split, draws=10).result.counts["classes_without_photos"] == ["ring"]
    with pytest.raises(EvaluationError, match="ring"):
        evaluate_encoder(eyes, fewer, split, missing="error", draws=10)


def test_data_without_unseen_classes_are_refused(eyes, drawings, split):
    with pytest.raises(DataError):
        evaluate_encoder(
            eyes, drawings.select_rows(drawings.find_rows(classes=split.seen)).without_labels(), split
        )
    sketches = drawings.select_rows(drawings.find_rows(Domain.SKETCH))
    with pytest.raises(EvaluationError, match="no readable photos"):
        evaluate_encoder(eyes, sketches, split)


def test_what_is_written_can_be_read_back(evaluated, tmp_path):
    page = save_evaluation(evaluated, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "results.json").read_text())
    columns = load_file(tmp_path / "out" / "ranking.safetensors")
    assert facts["protocols"]["standard"]["mAP@all"] == pytest.approx(
        columns["value standard mAP@all"].mean().item()
    )
    assert next(iter(facts)) == "verdict"
    assert page.is_file()
    assert columns["ids"].shape == (36, 20)


def test_a_corrupt_cache_is_rebuilt_with_a_notice(eyes, drawings, split, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_SBIR_CACHE", str(tmp_path))
    want = evaluate_encoder(eyes, drawings, split, draws=10).result.protocols["standard"].micro
    for file in (tmp_path / "embeddings").glob("*.safetensors"):
        file.write_bytes(b"\x00" * 40)
    assert evaluate_encoder(eyes, drawings, split, draws=10).result.protocols["standard"].micro == want
    assert "computing them again" in capsys.readouterr().err


def test_the_command_evaluates_a_named_encoder(shapes, tmp_path):
    (tmp_path / "split.json").write_text(
        json.dumps({"name": "mine", "seen": ["bar", "ring"], "unseen": ["cross", "square"]})
    )
    arguments = ["evaluate", "efficientnet_lite0", "--size", "32", "--data", f"folder:{shapes}", "--json"]
    arguments += [
        "--split",
        str(tmp_path / "split.json"),
        "--out",
        str(tmp_path / "out"),
        "--protocol",
        "standard",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["split"]["name"] == "mine"
    assert facts["page"] == str(tmp_path / "out" / "index.html")
    assert (tmp_path / "out" / "index.html").is_file()


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["--centre", "test"], "unknown centre 'test'"),
        (["--gzs", "allseen"], "Did you mean 'all-seen'"),
        (["--bits", "15"], "15 bits"),
        (["--split", "sketchy-sake-52"], "unknown split"),
        (["--protocol", "sakee"], "Did you mean 'sake'"),
    ],
)
def test_bad_options_are_refused(shapes, tmp_path, extra, told):
    arguments = [
        "evaluate",
        "efficientnet_lite0",
        "--size",
        "32",
        "--data",
        f"folder:{shapes}",
        "--out",
        str(tmp_path / "o"),
    ]
    result = CliRunner().invoke(app, [*arguments, *extra])
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "o").exists()


def test_a_run_is_evaluated_on_its_own_split_beside_its_beginning(unlike, tmp_path):
    from ssl_sbir.encoders import load_encoder
    from ssl_sbir.encoders.export import save_encoder
    from ssl_sbir.run import RunFolder

    facts = {
        "split": {"name": "own", "seen": ["bar", "circle"], "unseen": ["cross", "ring"]},
        "trained_classes": ["bar", "circle"],
        "start": {"name": "efficientnet_lite0", "size": 32, "pretrained": True},
        **dict.fromkeys(("recipe", "stage", "data", "manifest_sha256"), "told"),
        **{"seed": 0, "from": None, "labels_used": True, "versions": {"ssl-sbir": "0"}},
        "images": {"photo": 24, "sketch": 24},
    }
    facts["split"]["sha256"] = "0"
    run = RunFolder.create(tmp_path / "run", "", facts)
    save_encoder(load_encoder("efficientnet_lite0", size=32), run.path / "model")
    arguments = ["evaluate", str(run.path), "--data", f"folder:{unlike}", "--protocol", "sake"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    found = json.loads((run.path / "evaluate" / "own" / "results.json").read_text())
    assert found["split"]["unseen"] == ["cross", "ring"]
    assert found["frozen"]["sake"] == pytest.approx(
        {m: found["protocols"]["sake"][m] for m in found["frozen"]["sake"]}
    )
    assert found["audits"]["unseen names in training"]["ok"] is True
    assert "mAP@all  frozen" in result.stdout
    told = CliRunner().invoke(
        app, [*arguments, "--split", _split_file(tmp_path, ["ring"], ["bar", "square"])]
    )
    assert told.stdout.startswith("INTEGRITY AUDIT FAILED: training used 1 unseen class(es): bar")
    sized = CliRunner().invoke(app, [*arguments, "--size", "64"])
    assert sized.exit_code == 2
    assert "keeps the size it was trained with" in sized.stderr


def _split_file(folder, seen, unseen):
    (folder / "other.json").write_text(json.dumps({"name": "other", "seen": seen, "unseen": unseen}))
    return str(folder / "other.json")
