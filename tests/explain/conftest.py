import pytest
import torch
from torch.nn import functional as F

from ssl_sbir.encoders import Encoder, Preprocess

SIDE, CELLS = 64, 4


class Spots(Encoder):
    """Sees one thing that both domains share (ink, or red), and for each domain a ground of its own."""

    def __init__(self):
        super().__init__({"kind": "spots"}, Preprocess(SIDE), 3)

    def feature_map(self, image, domain):
        ink, red = 1 - image.mean(1), (image[:, 0] - image[:, 1]).clamp(min=0)
        sketch = (domain == 0).float()[:, None, None]
        spot = sketch * ink + (1 - sketch) * red
        channels = torch.stack([spot, sketch * (1 - spot), (1 - sketch) * (1 - spot)], 1)
        return F.avg_pool2d(channels, SIDE // CELLS)


class Mapless(Spots):
    """The same embedding from an encoder that can't say where."""

    def forward(self, image, domain):
        return super().feature_map(image, domain).mean((2, 3))

    def feature_map(self, image, domain):
        raise NotImplementedError


def cell(image, row, column, colour):
    step = SIDE // CELLS
    place = slice(row * step, (row + 1) * step), slice(column * step, (column + 1) * step)
    image[:, place[0], place[1]] = torch.tensor(colour)[:, None, None]
    return image


@pytest.fixture
def spots():
    return Spots().eval()


@pytest.fixture
def mapless():
    return Mapless().eval()


@pytest.fixture
def sketch():
    """White paper with ink in row 0, column 1 of 4."""
    return cell(torch.ones(3, SIDE, SIDE), 0, 1, (0.0, 0.0, 0.0))


@pytest.fixture
def photos():
    """Grey with a red spot in row 3, column 2; and another in row 1, column 0."""
    grey = torch.full((2, 3, SIDE, SIDE), 0.5)
    cell(grey[0], 3, 2, (1.0, 0.0, 0.0))
    cell(grey[1], 1, 0, (1.0, 0.0, 0.0))
    return grey
