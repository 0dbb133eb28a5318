"""What tests of recipes that read text share."""

import pytest
import torch


@pytest.fixture
def words(tmp_path):
    """A text encoder, as a recipe's `text` names it: random vectors of the shapes' names and a few words."""
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).tolist()
    names = ("bar", "circle", "cross", "ring", "square", "triangle", "photo", "drawing")
    text = "\n".join(" ".join([n, *map(str, row)]) for n, row in zip(names, rows, strict=True))
    (tmp_path / "words.txt").write_text(text)
    return f"vectors:{tmp_path / 'words.txt'}"
