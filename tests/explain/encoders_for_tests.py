"""Encoders whose right explanation is known."""

import torch
from torch import nn
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


class Convolution(Encoder):
    def __init__(self, width=8):
        super().__init__({"kind": "convolution"}, Preprocess(32), width)
        self.layers = nn.Sequential(nn.Conv2d(3, width, 5, 4), nn.BatchNorm2d(width), nn.ReLU())

    def feature_map(self, image, domain):
        del domain
        return self.layers(self.normalize_image(image))
