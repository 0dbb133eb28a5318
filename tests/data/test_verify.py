import json
from dataclasses import replace

import pytest
from test_readers import sketchy_tree
from trees_for_tests import write_image, write_tree
from typer.testing import CliRunner

import ssl_sbir.cli.data  # noqa: F401 - registers the commands
from ssl_sbir.cli import app
from ssl_sbir.data.readers import sketchy
from ssl_sbir.data.splits import Split
from ssl_sbir.data.verify import PUBLISHED_DATASET_PARTS, verify_dataset


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def problems(report):
    return {it.what: it.text for it in report.findings if it.status == "problem"}


def test_a_good_folder_is_ready(tmp_path):
    write_tree(tmp_path, {"photo/cat": 2, "sketch/cat": 2})
    result = run("verify", tmp_path)
    assert result.exit_code == 0
    assert "2 sketches · 2 photos · 1 classes" in result.stdout
    assert result.stdout.rstrip().endswith("is ready")


def test_a_folder_serves_a_hashed_split_whatever_its_classes(tmp_path):
    write_tree(tmp_path, {f"{side}/{name}": 2 for side in ("photo", "sketch") for name in ("gnu", "zebu")})
    result = run("verify", tmp_path, "--split", "hashed")
    assert (result.exit_code, "hashed-1" in result.stdout) == (0, True), result.stdout
    write_tree(tmp_path / "one", {"photo/gnu": 2, "sketch/gnu": 2})
    assert "1 class is not enough" in run("verify", tmp_path / "one", "--split", "hashed").output


def test_a_wrong_folder_is_explained(tmp_path):
    write_tree(tmp_path, {"photo/cat": 2, "sketch/cat": 2, "sketch/dog": 1, "photo/empty": 0})
    (tmp_path / "photo/cat/[bad].png").write_bytes(b"no image")
    (tmp_path / "photo/cat/notes.txt").write_text("x")
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    for text in (
        "1 class empty",
        "with sketches and no photos",
        "[bad].png (not an image)",
        "notes.txt",
        "exit 1",
    ):
        assert text in result.stdout
    facts = json.loads(run("verify", tmp_path, "--json").stdout)
    assert facts["ready"] is False
    assert [it["status"] for it in facts["findings"] if "notes.txt" in it["what"]] == ["note"]


def test_stray_files_alone_do_not_make_a_folder_wrong(tmp_path):
    write_tree(tmp_path, {"photo/cat": 1, "sketch/cat": 1})
    (tmp_path / "photo/cat/notes.txt").write_text("x")
    assert run("verify", tmp_path).exit_code == 0


def test_a_wrong_sketchy_tree_is_explained(tmp_path):
    root = sketchy_tree(tmp_path)
    (root / "EXTEND_image_sketchy").rename(root / "photos")
    photos = root / "256x256/photo"
    (photos / "tx_000000000000").rename(photos / "tx_000100000000")
    sketches = root / "256x256/sketch/tx_000000000000"
    write_image(sketches / "hot-air balloon" / "n1_1-1.png")
    (sketches / "alarm_clock" / "n02_9-1.png").write_bytes(b"")
    (sketches / "alarm_clock" / "readme.txt").write_text("x")
    found = problems(verify_dataset(f"sketchy:{root}", "sketchy-sake-25"))
    assert "found 256x256/photo/tx_000100000000" in found["256x256/photo/tx_000000000000"]
    assert (
        "73,002 extended photos: sketchy-sake-25 needs them for its gallery" in found["EXTEND_image_sketchy"]
    )
    assert "hot-air balloon (published: hot-air_balloon)" in found["256x256/sketch/tx_000000000000"]
    assert found["256x256/sketch/tx_000000000000/alarm_clock/readme.txt"] == "not an image, skipped"
    assert "n02_9-1.png (the file is empty (0 bytes))" in found["images"]
    result = run("verify", f"sketchy:{root}", "--split", "sketchy-sake-25")
    assert result.exit_code == 1
    assert "4 of 75,481 sketches" in result.stdout
    assert f"sketchy:{root} is not ready for sketchy-sake-25 · exit 1" in result.stdout


def test_a_whole_published_tree_is_ready(tmp_path, monkeypatch):
    root = sketchy_tree(tmp_path)
    counts = {"query_sketches": 2, "gallery_photos": 2}
    split = Split("sketchy-tiny", (), ("alarm_clock",), published_counts=counts)
    monkeypatch.setattr("ssl_sbir.data.verify._published_splits", lambda _: [split])
    parts = [replace(part, published_count=None) for part in sketchy.sketchy_parts(root)]
    monkeypatch.setitem(PUBLISHED_DATASET_PARTS, "sketchy", lambda _: parts)
    report = verify_dataset(f"sketchy:{root}")
    assert problems(report) == {}
    assert report.verdict == f"sketchy:{root} is ready for sketchy-tiny"


@pytest.mark.parametrize("kind", ["tuberlin", "quickdraw", "sketchy"])
def test_an_empty_tree_names_every_part(tmp_path, kind):
    assert run("verify", f"{kind}:{tmp_path}").exit_code == 1


def test_a_folder_may_hold_a_part_of_a_split(tmp_path):
    write_tree(tmp_path, {f"{side}/{name}": 1 for side in ("photo", "sketch") for name in ("ant", "bell")})
    result = run("verify", tmp_path, "--split", "sketchy-sake-25")
    assert result.exit_code == 0
    assert "1 of 15,229 unseen sketches (queries); not comparable with published numbers" in result.stdout


def test_errors_are_two_lines_and_exit_2(tmp_path):
    (tmp_path / "pets").mkdir()
    result = run("verify", f"folder:{tmp_path}/pet")
    assert result.exit_code == 2
    assert "Did you mean 'pets'" in result.stderr
    assert "Traceback" not in result.stderr
    assert run("verify", f"foldr:{tmp_path}").exit_code == 2
    assert run("verify", tmp_path, "--split", "sketchy-sake-24").exit_code == 2


def test_list_json():
    facts = json.loads(run("list", "--json").stdout)
    assert {it["name"] for it in facts["kinds"]} >= {"folder", "openmoji", "quickdraw", "sketchy", "tuberlin"}
    by_name = {it["name"]: it for it in facts["splits"]}
    assert by_name["sketchy-sake-25"]["published_counts"]["query_sketches"] == 15229
    assert len(by_name["sketchy-sake-25"]["sha256"]) == 64
    assert "sketchy-sake-25" in run("list").stdout


def test_prepare(tmp_path):
    write_tree(tmp_path, {"photo/cat": 2, "sketch/cat": 1})
    (tmp_path / "photo/cat/bad.png").write_bytes(b"")
    facts = json.loads(run("prepare", tmp_path, "--size", 16, "--json").stdout)
    assert (facts["images"], facts["photos"], facts["sketches"], len(facts["broken"])) == (4, 3, 1, 1)
    result = run("prepare", tmp_path, "--size", 16)
    assert "bad.png: the file is empty" in result.stderr
    assert run("prepare", tmp_path, "--size", 16, "--strict").exit_code == 2
