"""A command imports what it needs: listing, refusing and printing settings come without torch and its like."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "torchvision",
    "lightly",
    "kornia",
    "sklearn",
    "lightning_fabric",
    "timm",
    "transformers",
    "captum",
)
PROGRAM = """
import sys
from ssl_sbir.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    code = end.code
else:
    code = 0
loaded = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
sys.exit(f"loaded {loaded}" if loaded else code)
"""


def run(*arguments):
    command = [sys.executable, "-c", PROGRAM, ",".join(HEAVY), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("recipes", "list"),
        ("recipes", "list", "--json"),
        ("recipes", "copy", "sake", "mine.py"),
        ("encoders",),
        ("encoders", "--json"),
        ("data", "list"),
        ("pretrain", "--help"),
        ("pretrain", "labelfree", "--data", "folder:pets", "--dry-run"),
        ("finetune", "sake", "--data", "folder:pets", "--dry-run", "--preset", "sake-published"),
        ("finetune", "multimodal", "--data", "folder:pets", "--dry-run", "--set", "optim.lr=1e-4"),
    ],
    ids=" ".join,
)
def test_what_needs_no_torch_imports_none(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.returncode == 0, result.stderr


def test_doctor_looks_at_the_machine_without_torch():
    assert run("doctor").returncode in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("finetune", "skae", "--data", "folder:."), "Did you mean 'sake'?"),
        (("pretrain", "sake", "--data", "folder:."), "'sake' is a finetuning recipe"),
        (("finetune", "sake", "--data", "folder:.", "--set", "optim.lrr=1"), "Did you mean 'optim.lr'?"),
        (("finetune", "sake", "--data", "folder:.", "--set", "optim.lr=fast"), "optim.lr"),
        (("finetune", "sake", "--data", "folder:.", "--set", "code=64"), "'code' is now 'embedding_dim'"),
        (("finetune", "sake", "--data", "folder:absent"), "absent"),
        (("finetune", "sake", "--data", "floder:absent"), "floder"),
        (("finetune", "sake", "--data", "folder:.", "--out", "taken"), "taken already holds"),
        (("finetune", "sake", "--data", "folder:.", "--from", "x", "--out", "x"), "can't start from itself"),
        (("recipes", "show", "skae"), "Did you mean 'sake'?"),
        (("recipes", "copy", "sake", "mine"), "doesn't end in .py"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)
def test_what_can_be_refused_without_torch_is(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/note.txt").write_text("mine")
    result = run(*arguments)
    assert "loaded" not in result.stderr
    assert result.returncode == 2, result.stderr
    assert message in " ".join(result.stderr.split())
