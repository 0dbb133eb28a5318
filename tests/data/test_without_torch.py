"""Data is listed, opened, decoded and verified without importing torch, which takes seconds to load."""

import subprocess
import sys
from pathlib import Path

import ssl_sbir.data

WITH_TORCH = {"batches", "class_sampling", "label_budget", "schedule", "training_set"}
CODE = """
import importlib, sys
for name in sys.argv[2:]:
    importlib.import_module(name)
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.verify import verify_dataset
assert verify_dataset(sys.argv[1]).is_ready
assert len(prepare_pack(open_data(sys.argv[1]), 16)) == 144
print(sorted({'torch', 'torchvision', 'timm', 'kornia'} & set(sys.modules)))
"""


def test_most_of_the_room_needs_no_torch(shapes: Path) -> None:
    room = Path(ssl_sbir.data.__path__[0])
    files = [*room.glob("*.py"), *room.glob("readers/*.py")]
    names = [
        f"ssl_sbir.data.{file.relative_to(room).with_suffix('').as_posix().replace('/', '.')}"
        for file in files
        if file.stem not in {*WITH_TORCH, "__init__"}
    ]
    assert len(names) > 20
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(shapes), *names], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
