"""A split of the drawn shapes, and settings small enough for a grid of real runs."""

import json
from pathlib import Path

import pytest

from ssl_sbir.studies import StudyCell

TINY = ("encoder.name=timm:test_efficientnet", "encoder.size=32", "batch.sketches=8", "batch.photos=8",
        "embedding_dim=16", "teacher_size=32", "optim.max_steps=30", "checkpoint_steps=5")  # fmt: skip


@pytest.fixture(scope="session")
def split(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("split") / "split.json"
    seen, unseen = ["bar", "circle", "cross"], ["ring", "square", "triangle"]
    path.write_text(json.dumps({"name": "shapes", "seen": seen, "unseen": unseen}))
    return path


@pytest.fixture(scope="session")
def cell(shapes, split):
    """A cell on the shapes; what it is asked for comes on top."""

    def made(**asked) -> StudyCell:
        whole = {"recipe": "sake", "start": "scratch", "split": str(split), "settings": TINY}
        return StudyCell(data=f"folder:{shapes}", **{**whole, **asked})

    return made
