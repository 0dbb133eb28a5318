"""`pretrain`, `finetune`, `recipes` and `data preview` through their own entry point, with what people get wrong."""

import importlib.metadata
import json
import re
import shutil
import tarfile

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ssl_sbir.cli import app

TINY = ("encoder.name=timm:test_efficientnet", "encoder.pretrained=false", "encoder.size=32",
        "batch.sketches=8", "batch.photos=8", "optim.max_steps=2")  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def sets(*settings):
    return [part for setting in settings for part in ("--set", setting)]


def pretrain(data, out, *more):
    return run("pretrain", "simclr", "--data", f"folder:{data}", "--out", out, *sets(*TINY), *more)


def said(result):
    return re.sub(r"\s+", " ", result.stderr)


def refused(result, *texts):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for text in texts:
        assert text in said(result)


def test_pretraining_never_reads_a_label(shapes, tmp_path):
    unlabelled = tmp_path / "unlabelled"
    for domain in ("sketch", "photo"):
        files = sorted((shapes / domain).rglob("*.png"))
        (unlabelled / domain).mkdir(parents=True)
        for number, file in enumerate(files):
            shutil.copy(file, unlabelled / domain / f"{number:03}.png")
    for name, data, follows in (
        ("with", shapes, f"ssl-sbir finetune sake --data folder:{shapes} --from {tmp_path / 'with'}"),
        ("without", unlabelled, f"ssl-sbir index {tmp_path / 'without'} folder:{unlabelled}"),
    ):
        result = pretrain(data, tmp_path / name)
        assert result.exit_code == 0, result.output
        assert "labels not used" in said(result)
        assert re.search(r"timm:test_efficientnet, 0\.\d M parameters, random weights", said(result))
        assert said(result).endswith(f"next: {follows} ")
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("with", "without")]
    assert weights[0] == weights[1]


def test_what_comes_next_keeps_to_the_split_and_the_photos(shapes, tmp_path):
    more = ("--photos", f"folder:{shapes}", "--split", "hashed")
    result = pretrain(shapes, tmp_path / "a run", *more)
    follows = f"--photos folder:{shapes} --split hashed --from '{tmp_path / 'a run'}'"
    assert said(result).endswith(f"next: ssl-sbir finetune sake --data folder:{shapes} {follows} ")


def test_a_run_folder_tells_what_it_is(shapes, tmp_path):
    result = pretrain(shapes, tmp_path / "run", "--json")
    facts = json.loads(result.stdout)
    assert facts["recipe"] == "simclr"
    assert facts["labels_used"] is False
    assert facts["images"] == {"sketch": 72, "photo": 72}
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["encoder"]["size"] == 32
    card = (tmp_path / "run/model/README.md").read_text()
    assert "no label was read" in card
    assert facts["manifest_sha256"] in card
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"provenance.json", "metrics.jsonl", "model"}


def test_broken_images_are_named_and_left_out_unless_strict(shapes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    (data / "photo/circle/zero.png").write_bytes(b"")
    (data / "photo/circle/text.png").write_text("no image")
    result = pretrain(data, tmp_path / "run")
    assert result.exit_code == 0
    assert "2 unreadable images left out" in said(result)
    assert "zero.png" in said(result)
    refused(pretrain(data, tmp_path / "strict", "--strict"), "zero.png")
    assert not (tmp_path / "strict").exists()


def test_a_dry_run_prints_every_setting_with_its_origin_and_writes_nothing(shapes, tmp_path):
    (tmp_path / "mine.yaml").write_text("optim: {lr: 0.01}\n")
    result = pretrain(shapes, tmp_path / "run", "--config", tmp_path / "mine.yaml", "--dry-run")
    lines = {line.split(":")[0].strip(): line for line in result.stdout.splitlines()}
    assert lines["lr"].endswith(f"# {tmp_path / 'mine.yaml'}")
    assert lines["size"].endswith("# --set")
    assert lines["temperature"].endswith("# default")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["skae"], ["unknown recipe 'skae'. Did you mean 'sake'?", "ssl-sbir recipes list"]),
        (["simclr"], ["'simclr' is a pretraining recipe", "ssl-sbir pretrain simclr"]),
        (
            ["sake", "--set", "optim.lrr=1"],
            ["unknown key 'optim.lrr'. Did you mean 'optim.lr'?", "recipes show sake"],
        ),
        (["sake", "--set", "optim.lr=fast"], ["optim.lr = 'fast'"]),
        (["sake", "--set", "encoder.name=resnet5"], ["resnet5", "Did you mean"]),
        (["sake", "--set", "encoder.fit=inks"], ["encoder.fit", "ink"]),
        (["sake", "--preset", "quickstart-skae"], ["Did you mean 'quickstart-sake'?"]),
        (["sake", "--split", "sketchy-sake-52"], ["Did you mean 'sketchy-sake-25'?"]),
        (["sake", "--from", "nowhere"], ["no run folder at nowhere"]),
        (["mine.py"], ["no recipe file at mine.py"]),
        (["sake", "--set", "embedding_dim=2000"], ["embedding_dim = 2000 exceeds"]),
    ],
)
def test_what_is_misspelt_is_named_with_the_next_step(shapes, tmp_path, arguments, texts):
    out = tmp_path / "run"
    refused(
        run("finetune", *arguments, "--data", f"folder:{shapes}", "--out", out, *sets("encoder.size=32")),
        *texts,
    )


def test_missing_or_empty_data_is_named(tmp_path):
    refused(pretrain(tmp_path / "absent", tmp_path / "run"), "absent")
    (tmp_path / "empty").mkdir()
    refused(pretrain(tmp_path / "empty", tmp_path / "run"), "empty")
    assert not (tmp_path / "run").exists()


def test_a_taken_or_foreign_folder_is_left_alone(shapes, tmp_path):
    assert pretrain(shapes, tmp_path / "run").exit_code == 0
    before = (tmp_path / "run/model/model.safetensors").read_bytes()
    refused(
        pretrain(shapes, tmp_path / "run"),
        "already holds a run (finished",
        "--resume",
        "--overwrite",
        "run-2",
    )
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == before
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/thesis.tex").write_text("x")
    refused(pretrain(shapes, tmp_path / "foreign", "--overwrite"), "not a run")
    assert (tmp_path / "foreign/thesis.tex").read_text() == "x"


def test_fine_tuning_goes_on_from_a_run_and_remembers_where_it_began(shapes, tmp_path):
    assert pretrain(shapes, tmp_path / "first").exit_code == 0
    result = run("finetune", "sake", "--data", f"folder:{shapes}", "--from", tmp_path / "first", "--out",
                 tmp_path / "second", *sets(*TINY, "embedding_dim=16", "teacher_size=32"), "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["start"]["name"] == "timm:test_efficientnet"
    assert facts["from"] == str(tmp_path / "first")
    unseen = set(facts["split"]["unseen"])
    assert not set(facts["labelled_classes"]) & unseen
    assert (
        set(facts["trained_classes"]) >= unseen
    )  # pretraining without a split saw their unlabelled images, and says so
    assert (
        f"TRANSDUCTIVE: {tmp_path / 'first'} saw unlabelled images of {len(unseen)} classes" in result.stderr
    )
    other = {"name": "other", "seen": sorted(unseen), "unseen": facts["labelled_classes"]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    third = run("finetune", "sake", "--data", f"folder:{shapes}", "--from", tmp_path / "second", "--out",
                tmp_path / "third", "--split", tmp_path / "other.json",
                *sets(*TINY, "embedding_dim=16", "teacher_size=32"))  # fmt: skip
    taught = facts["labelled_classes"][0]
    refused(third, f"was trained on labels of '{taught}'", "the split other holds out", "Start from a run of")
    assert not (tmp_path / "third").exists()


def test_a_run_on_the_gallery_itself_is_known_by_its_pixels(shapes, tmp_path):
    for file in shapes.glob("*/*/*.png"):
        domain, name = file.parts[-3], file.parts[-2]
        (tmp_path / "pile" / domain).mkdir(parents=True, exist_ok=True)
        (tmp_path / "pile" / domain / f"{name}-{file.name}").symlink_to(file)
    assert pretrain(tmp_path / "pile", tmp_path / "run").exit_code == 0
    asked = ["evaluate", tmp_path / "run", "--data", f"folder:{shapes}", "--protocol", "standard", "--json"]
    facts = json.loads(run(*asked).stdout)
    assert "TRANSDUCTIVE: training saw 12 of the 12 sketches and 12 of the 12 photos" in facts["verdict"]
    (tmp_path / "run" / "images.npy").write_bytes(b"broken")
    facts = json.loads(run(*asked).stdout)
    assert facts["audits"]["test images in training"]["ok"] is None


def test_recipes_are_listed_shown_and_copied_to_train_with(shapes, tmp_path):
    listed = json.loads(run("recipes", "list", "--json").stdout)
    assert {"simclr", "sake"} <= {r["name"] for r in listed}
    assert all(set(r) == {"name", "stage", "summary", "paper"} for r in listed)
    shown = json.loads(run("recipes", "show", "sake", "--json").stdout)
    assert all(setting["description"] for setting in shown["settings"])
    assert "ICCV 2019" in run("recipes", "show", "sake").stdout
    mine = tmp_path / "mine.py"
    assert run("recipes", "copy", "simclr", mine).exit_code == 0
    mine.write_text(mine.read_text().replace('"contrast": mean_over', '"mine": mean_over'))
    result = run("pretrain", mine, "--data", f"folder:{shapes}", "--out", tmp_path / "run", *sets(*TINY))
    assert result.exit_code == 0, result.output
    assert '"mine"' in (tmp_path / "run/metrics.jsonl").read_text()
    refused(run("recipes", "copy", "simclr", mine), "already there")


@pytest.mark.parametrize(
    ("text", "says"),
    [("x = (", "can't be imported"), ("x = 1", "holds 0 recipes"), ("import nonsense_", "nonsense_")],
)
def test_a_broken_recipe_file_is_explained(shapes, tmp_path, text, says):
    (tmp_path / "mine.py").write_text(text)
    refused(run("pretrain", tmp_path / "mine.py", "--data", f"folder:{shapes}"), says)


def test_a_contact_sheet_is_written(shapes, tmp_path):
    result = run("data", "preview", f"folder:{shapes}", "--out", tmp_path / "sheet.png", "--size", 32)
    assert result.exit_code == 0, result.output
    assert np.asarray(Image.open(tmp_path / "sheet.png")).std() > 10
    below = tmp_path / "sheet.png" / "another.png"
    refused(run("data", "preview", f"folder:{shapes}", "--out", below, "--size", 32), "cannot write")


def test_a_file_in_the_place_of_a_study_s_folder_is_named(shapes, tmp_path):
    (tmp_path / "file").write_text("x")
    study = run(
        "study", "labels", "--data", f"folder:{shapes}", "--out", tmp_path / "file", "--starts", "scratch"
    )
    refused(study, "cannot write", "--out")


def test_doctor_finds_what_the_extras_bring():
    result = run("doctor", "--json")
    facts = json.loads(result.stdout)
    assert {f["what"] for f in facts["findings"]} >= {"torch", "device", "precision", "WordNet 3.0", "cache"}
    assert result.exit_code == (0 if facts["good"] else 1)


def test_photos_come_from_shards_beside_a_folder_of_sketches(shapes, tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn/sketch").symlink_to(shapes / "sketch")
    photos = sorted((shapes / "photo").rglob("*.png"))
    for shard in range(2):
        with tarfile.open(tmp_path / f"photos-{shard}.tar", "w") as tar:
            for number, file in enumerate(photos[shard::2]):
                tar.add(file, f"[/{number}].png")
    whole = (tmp_path / "photos-1.tar").read_bytes()
    (tmp_path / "photos-1.tar").write_bytes(whole[: len(whole) // 2])
    more = ("--photos", f"shards:{tmp_path}/photos-{{0..1}}.tar")
    result = pretrain(tmp_path / "drawn", tmp_path / "run", *more, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["images"]["sketch"] == 72
    assert 36 < facts["images"]["photo"] < 72
    assert "left out 1: photos-1.tar broke off after" in said(result)
    assert facts["lost"][0].startswith("photos-1.tar broke off")
    refused(pretrain(tmp_path / "drawn", tmp_path / "strict", *more, "--strict"), "photos-1.tar broke off")
    refused(
        pretrain(tmp_path / "drawn", tmp_path / "none", "--photos", f"shards:{tmp_path}/x.tar"),
        "No such file",
    )


def test_doctor_times_both_ways_to_make_views():
    facts = json.loads(run("doctor", "--augment", "--size", 32, "--recipe", "sake", "--json").stdout)[
        "augment"
    ]
    assert facts["kornia"] > 0
    assert facts["torchvision"] > 0
    faster = "torchvision" if facts["torchvision"] > 1.1 * facts["kornia"] else "kornia"
    assert facts["setting"] == f"augment.backend={faster}"
    assert "use --set augment.backend=" in run("doctor", "--augment", "--size", 32).stdout


def test_the_version_is_the_packages():
    assert run("--version").stdout.strip() == importlib.metadata.version("ssl-sbir")


def test_only_finetuning_takes_labels(shapes, tmp_path):
    wanted = ("--data", f"folder:{shapes}", "--out", tmp_path / "run", "--labels", "10%", "--dry-run")
    assert run("finetune", "sake", *wanted).exit_code == 0
    refused(run("pretrain", "simclr", *wanted), "No such option: --labels")
