"""`index` and `search` from a folder to a sheet, and their errors: one line, a next step, exit code 2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.encoders import save_encoder
from ssl_sbir.encoders.timm_models import timm_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_encoder(timm_encoder("resnet18", size=32, pretrained=False), folder)
    return folder


@pytest.fixture
def photos(shapes: Path, tmp_path: Path) -> Path:
    for name in ("ring", "bar"):
        shutil.copytree(shapes / "photo" / name, tmp_path / "photos" / name)
    return tmp_path / "photos"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(it) for it in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_from_a_folder_to_a_sheet_and_back(model: Path, photos: Path, shapes: Path, tmp_path: Path):
    place, drawing = model / "index", shapes / "sketch" / "ring" / "00.png"
    code, out, _ = run("index", model, photos, "--device", "cpu", "--json")
    first = json.loads(out)
    assert first["index"] == str(place)
    assert (code, first["items"], first["added"], first["engine"]) == (0, 24, 24, "exact")
    (photos / "bar" / "00.png").unlink()
    code, out, _ = run("index", model, photos, "--out", place)
    assert code == 0
    assert "23 photos: 0 added, 1 removed, 23 unchanged" in out
    code, out, _ = run("search", place, "--sketch", drawing, "-k", 3, "--json", "--html", tmp_path / "s.html")
    found = json.loads(out)
    assert (code, len(found["hits"]), found["searched"]) == (0, 3, 23)
    assert found["hits"][0]["parts"]["sketch"] == pytest.approx(found["hits"][0]["score"], abs=1e-5)
    assert found["pages"] == [str(tmp_path / "s.html")]
    page = (tmp_path / "s.html").read_text("utf-8")
    assert page.count('data-index="') == 3
    assert "http" not in page.replace("http-equiv", "")
    code, out, _ = run(
        "search", place, "--photo", photos / "ring" / "05.png", "--like", "ring/06.png", "-k", 2
    )
    assert code == 0
    assert "ring/05.png" in out
    assert "liked photos" in out


UNNEEDED_BY_SEARCH = (
    *(
        "training",
        "recipes",
        "evaluation",
        "explain",
        "studies",
        "semantics",
        "edges",
        "objectives",
        "augment",
    ),
    *("kornia", "lightly", "sklearn", "lightning_fabric", "captum", "networkx", "matplotlib", "jinja2"),
    *("pymilvus", "faiss", "transformers"),
)
SEARCH_AND_LIST_MODULES = """
import json, sys
from ssl_sbir.cli import main
try:
    main(sys.argv[1:])
finally:
    json.dump(sorted(sys.modules), sys.stderr)
"""


def test_a_search_imports_only_what_it_needs(model: Path, photos: Path, shapes: Path, tmp_path: Path):
    assert run("index", model, photos, "--out", tmp_path / "index")[0] == 0
    drawing = shapes / "sketch" / "ring" / "00.png"
    command = [
        sys.executable,
        "-c",
        SEARCH_AND_LIST_MODULES,
        "search",
        tmp_path / "index",
        "--sketch",
        drawing,
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert "bar/" in done.stdout or "ring/" in done.stdout
    imported = set(json.loads(done.stderr))
    assert "timm" in imported
    names = {name for unneeded in UNNEEDED_BY_SEARCH for name in (unneeded, f"ssl_sbir.{unneeded}")}
    assert not imported & names


def test_errors_end_with_a_next_step(model: Path, photos: Path, tmp_path: Path):
    place = tmp_path / "index"
    assert run("index", model, photos, "--out", place)[0] == 0
    for arguments, said in (
        (("search", tmp_path / "none", "--text", "a"), "no index at"),
        (("search", place), "the query is empty"),
        (("search", place, "--text", "a cat"), "reads images, not text"),
        (("search", place, "--sketch", tmp_path / "none.png"), "no such file"),
        (("search", place, "--sketch", photos / "ring" / "01.png", "--weight", "text"), "--weight text"),
        (
            ("search", place, "--photo", photos / "ring" / "01.png", "--run", "efficientnet_lite0"),
            "another model",
        ),
        (("index", model, photos, "--out", place, "--engine", "fais"), "Did you mean 'faiss'"),
        (("index", model, photos, "--out", photos), "something that is not an index"),
        (("index", model, tmp_path / "gone", "--out", place), "does not exist"),
        (("index", "efficientnet_lite0", photos), "--out FOLDER"),
    ):
        code, _, err = run(*arguments)
        assert code == 2, arguments
        assert said in err
        assert "Traceback" not in err
