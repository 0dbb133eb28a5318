import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.cli import explain as _registered  # noqa: F401 - a command exists once its file is imported
from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import load_encoder, save_encoder
from ssl_sbir.errors import DataError, ExplainError
from ssl_sbir.explain.run.explain_query import explain_query, page_file_name
from ssl_sbir.explain.run.query_drawing import describe_drawing_doubts, find_drawing
from ssl_sbir.run import RunFolder

UNSEEN = ("cross", "ring")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a tiny untrained encoder and a split of the drawn shapes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("runs") / "tiny"
    split = {"name": "shapes-2", "seen": ["circle", "square", "triangle", "bar"], "unseen": list(UNSEEN)}
    RunFolder.create(path, "", {"recipe": "none", "split": split})
    save_encoder(load_encoder("timm:test_efficientnet", size=64, pretrained=False), path / "model")
    return path


def command(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_the_command_writes_a_page_and_its_facts(run, shapes):
    done = command(run, "--data", f"folder:{shapes}", "--query", "ring/03.png", "--top", 3, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["query"] == "sketch/ring/03.png"
    assert [result["rank"] for result in facts["results"]] == [1, 2, 3]
    assert {result["label"] for result in facts["results"]} <= set(UNSEEN)
    assert facts["gallery"]["size"] == 24
    page = run / "explain" / "sketch-ring-03.html"
    assert facts["page"] == str(page)
    assert "sketch/ring/03.png" in page.read_text()
    beside = json.loads(page.with_suffix(".json").read_text())
    assert beside == {key: value for key, value in facts.items() if key != "page"}


def test_the_order_is_that_of_a_slow_loop(run, shapes):
    encoder, manifest = RunFolder.open(run).encoder(), open_data(f"folder:{shapes}")
    facts = explain_query(encoder, manifest, "bar/00.png", top=4).facts
    file = shapes / "sketch" / "bar" / "00.png"
    sketch = _embedding(encoder, file, 0)
    scores = {
        f"photo/{path.parent.name}/{path.name}": torch.cosine_similarity(
            sketch, _embedding(encoder, path, 1), 0
        ).item()
        for path in sorted((shapes / "photo").glob("*/*.png"))
    }
    expected = sorted(scores, key=lambda key: -scores[key])[:4]
    assert [result.id for result in facts.results] == expected
    for result in facts.results:
        assert result.explanation.score == pytest.approx(scores[result.id], abs=1e-4)
    assert facts.gallery.average == pytest.approx(np.mean(list(scores.values())), abs=1e-4)


def _embedding(encoder, path, domain):
    square = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        return encoder(image, torch.tensor([domain]))[0]


def test_a_file_with_a_hostile_name_is_a_query(run, shapes, tmp_path):
    file = tmp_path / '"><script>x.png'
    Image.open(shapes / "sketch" / "ring" / "00.png").save(file, "PNG")
    done = command(
        run, "--data", shapes, "--query", file, "--gallery", "all", "--out", tmp_path / "page.html"
    )
    assert done.exit_code == 0, done.output
    assert "<script>x" not in (tmp_path / "page.html").read_text()


def test_paths_between_ideas_come_from_a_graph(run, shapes, tmp_path):
    seen = ("circle", "square", "triangle", "bar")
    lines = "".join(f"IsA\t{name}\tfigure\n" for name in seen)
    (tmp_path / "graph.tsv").write_text(lines)
    arguments = [
        "--data",
        shapes,
        "--query",
        "ring/03.png",
        "--top",
        3,
        "--random-maps",
        0,
        "--out",
        tmp_path / "page.html",
    ]
    done = command(run, *arguments, "--semantics", f"conceptnet:{tmp_path / 'graph.tsv'}", "--json")
    assert done.exit_code == 0, done.output
    ideas = [result["explanation"]["concepts"] for result in json.loads(done.stdout)["results"]]
    for one in ideas:
        start, end = one["drawing"][0]["name"], one["photo"][0]["name"]
        path = f"{start} —is a→ figure ←is a— {end}"
        assert one["words"] == (path if start != end else f"Both are nearest to “{start}”.")
    wrong = command(run, *arguments, "--semantics", "conceptnot:x")
    assert wrong.exit_code == 2
    assert "conceptnot" in wrong.output


def test_a_blank_drawing_gets_a_page_that_says_so(run, shapes, tmp_path):
    Image.new("RGB", (50, 50), "white").save(tmp_path / "blank.png")
    done = command(run, "--data", shapes, "--query", tmp_path / "blank.png")
    assert done.exit_code == 0, done.output
    assert "blank" in (run / "explain" / "blank.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--query", "ring/99.png"], "no drawing 'ring/99.png'"),
        (["--query", "00.png"], "6 sketches end in '00.png'"),
        (["--query", "143"], "row 143"),
        (["--query", "ring/00.png", "--methods", "gradcm"], "unknown method 'gradcm'"),
        (["--query", "ring/00.png", "--gallery", "some"], "unknown gallery 'some'"),
        (["--query", "ring/00.png", "--split", "sketchy-sake-25"], "sketchy-sake-25"),
    ],
)
def test_a_wrong_argument_is_named(run, shapes, arguments, words):
    done = command(run, "--data", shapes, *arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert "Traceback" not in done.output


def test_an_unreadable_drawing_is_named(run, shapes, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    done = command(run, "--data", shapes, "--query", tmp_path / "broken.png")
    assert done.exit_code == 2
    assert "broken.png: not an image" in done.output


def test_a_drawing_by_key_by_its_end_and_by_row(shapes):
    manifest = open_data(f"folder:{shapes}")
    whole = find_drawing("sketch/ring/02.png", manifest)
    assert whole == find_drawing("ring/02.png", manifest)
    row = next(row for row in range(len(manifest)) if manifest.keys[row] == "sketch/ring/02.png")
    assert find_drawing(str(row), manifest) == whole
    assert whole.label == "ring"
    with pytest.raises(ExplainError):
        find_drawing("ring", manifest)
    with pytest.raises(DataError):
        find_drawing(__file__, manifest).decode_pixels(8, "squash")


def test_doubtful_drawings():
    paper = np.full((20, 20, 3), 255, np.uint8)
    assert "blank" in describe_drawing_doubts(paper)[0]
    assert "light on dark" in describe_drawing_doubts(np.pad(paper, ((30, 30), (30, 30), (0, 0))))[0]
    paper[5:8] = 0
    assert describe_drawing_doubts(paper) == ()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("sketch/cat/1.png", "sketch-cat-1"),
        ("../../etc/passwd", "etc-passwd"),
        ("…", "query"),
        ("a" * 300, "a" * 100),
    ],
)
def test_page_names_stay_in_their_folder(query, name):
    assert page_file_name(query) == name
