"""Every command of the README, in its order, on small data and with small networks."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from vocabulary_for_tests import SMALL_DICTIONARY

from ssl_sbir import recipes
from ssl_sbir.cli import app
from ssl_sbir.fusion import vocabulary_tower

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
TAUGHT = (
    "encoder.size=48",
    "teacher_size=48",
    "batch.sketches=8",
    "batch.photos=8",
    "optim.max_steps=2",
    "optim.lr=1e-5",
)
SMALLER = {
    "pretrain": (*TAUGHT, "num_clusters=6"),
    "finetune sake": TAUGHT,
    "study labels": TAUGHT,
}
MORE = {"study labels": ("--seeds", "1"), "explain": ("--top", "2")}
ELSEWHERE = ("quickstart",)  # has a test of its own
SKETCHY = ("airplane", "bell", "camel", "deer", "bat", "cat", "cow", "door")  # half of them unseen


def commands():
    """What the README writes after `ssl-sbir`, in its order, each once."""
    lines = re.findall(r"^    ssl-sbir (.+)$", README, flags=re.MULTILINE)
    return [line for line in dict.fromkeys(lines) if not line.startswith(ELSEWHERE)]


@pytest.fixture(scope="module")
def place(tmp_path_factory, shapes):
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(shapes, folder / "pets")
    for name in ("owl.png", "cat.png"):
        shutil.copy(shapes / "sketch/ring/00.png", folder / name)
    kinds = sorted((shapes / "photo").iterdir())
    for number, name in enumerate(SKETCHY):
        kind = kinds[number % len(kinds)].name
        for domain in ("photo", "sketch"):
            shutil.copytree(shapes / domain / kind, folder / "sketchy-sample" / domain / name)
        for part in ("photo", "sketch"):
            target = folder / "Sketchy/256x256" / part / "tx_000000000000" / name
            target.mkdir(parents=True)
            for at, file in enumerate(sorted((shapes / part / kind).iterdir())[:4]):
                stem = f"n0000000{number}_{at}"
                image = Image.fromarray(np.asarray(Image.open(file).convert("RGB")))
                image.save(target / (f"{stem}.jpg" if part == "photo" else f"{stem}-1.png"))
    return folder


def settings(line):
    kind = next((kind for kind in SMALLER if line.startswith(kind)), None)
    more = next((more for start, more in MORE.items() if line.startswith(start)), ())
    return [*(part for text in SMALLER.get(kind, ()) for part in ("--set", text)), *more]


def test_sizes_are_those_of_the_runs_that_the_tour_makes():
    # The commands below are run smaller; a start of another size than a command asks for would be refused.
    asked = re.findall(r"(?:encoder\.size=|--size )(\d+)", "\n".join(commands()))
    assert asked
    assert set(asked) == {str(recipes.load_recipe("labelfree").Config().encoder.size)}


def test_every_command_does_what_it_says(place, monkeypatch):
    monkeypatch.chdir(place)
    # The whole dictionary takes a minute to read.
    monkeypatch.setattr(vocabulary_tower, "_read_dictionary_words", lambda: SMALL_DICTIONARY)
    asked = commands()
    assert len(asked) >= 15
    for line in asked:
        arguments = shlex.split(line.replace("/data/Sketchy", str(place / "Sketchy")))
        result = CliRunner().invoke(app, [*arguments, *settings(line)])
        # A small tree lacks most of what was published: that is told, with exit code 1.
        expected = (0, 1) if line.startswith("data verify sketchy") else (0,)
        assert result.exit_code in expected, f"ssl-sbir {line}\n{result.output}"
    for made in ("hits.html", "runs/pets/model", "runs/sample/model", "index"):
        assert (place / made).exists()
    code = re.search(r"^The same in Python:\n\n((?:    .*\n|\n)+)", README, flags=re.MULTILINE).group(1)
    exec(re.sub(r"^    ", "", code, flags=re.MULTILINE), {})
