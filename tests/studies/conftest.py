"""A split of the drawn shapes, and settings small enough for a grid of real runs."""

import json
from pathlib import Path

import pytest
from inline_worker import InlineWorker
from optional_parts import needs_lite0

from ssl_sbir.studies import StudyCell, grid

TINY = ("encoder.name=timm:test_efficientnet", "encoder.size=32", "batch.sketches=8", "batch.photos=8",
        "embedding_dim=16", "teacher_size=32", "optim.max_steps=20", "checkpoint_steps=5")  # fmt: skip


@pytest.fixture(scope="session")
def split(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("split") / "split.json"
    seen, unseen = ["bar", "circle", "cross"], ["ring", "square", "triangle"]
    path.write_text(json.dumps({"name": "shapes", "seen": seen, "unseen": unseen}))
    return path


@pytest.fixture(scope="session")
def cell(shapes, split):
    """Builds a cell on the shapes from its differences to a small one; skips without the teacher's weights."""
    needs_lite0()

    def build_cell(**changes) -> StudyCell:
        whole = {"recipe": "sake", "start": "scratch", "split": str(split), "settings": TINY}
        return StudyCell(data=f"folder:{shapes}", **{**whole, **changes})

    return build_cell


@pytest.fixture(scope="module")
def inline_workers():
    """Studies run their cells in the test's process: starting a worker takes longer than a small cell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "Worker", InlineWorker)
        yield
