"""Text sides whose right answer is known, and a run that has one."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from ssl_sbir.encoders import (
    DomainHeadsEncoder,
    Encoder,
    Preprocess,
    TokenizationReport,
    load_encoder,
    load_text_encoder,
    save_encoder,
)
from ssl_sbir.fusion import TextTower, create_fusion, save_text_tower
from ssl_sbir.run import RunFolder

KNOWN = {"red": 0, "round": 1, "the": 2}


class Mean(Encoder):
    """The mean colour of a picture."""

    def __init__(self):
        super().__init__({"kind": "mean"}, Preprocess(32), 3)

    def feature_map(self, image, domain):
        del domain
        return F.avg_pool2d(image, 8)


class Reader:
    def tokenization_report(self, text):
        words = text.split()
        known = [word for word in words if word in KNOWN]
        return TokenizationReport(
            len(known), unknown_words=tuple(word for word in words if word not in KNOWN)
        )


class Tower:
    """Half the drawing, half the mean of the words it knows; refuses a text without any, as real ones do."""

    needs_images = False
    weights = (0.5, 0.5)

    def __init__(self, encoder):
        self.image_encoder, self.encoder = encoder, Reader()

    def __call__(self, texts):
        return torch.stack([self._words(text) for text in texts])

    def fuse(self, sketch, text=None, weights=None):
        drawn = F.normalize(sketch, dim=1) if sketch.ndim == 2 else self._drawn(sketch)
        if text is None:
            return SimpleNamespace(vector=drawn)
        words = torch.stack([self._words(one) for one in text])
        mine, other = weights or (1, 1)
        length = (mine * drawn + other * words).norm(dim=1, keepdim=True)
        parts = mine * drawn / length, other * words / length
        return SimpleNamespace(vector=parts[0] + parts[1], sketch=parts[0], text=parts[1])

    def _drawn(self, images):
        return F.normalize(self.image_encoder(images, torch.zeros(len(images), dtype=torch.int64)), dim=1)

    def _words(self, text):
        return torch.stack([torch.eye(3)[KNOWN[word]] for word in text.split() if word in KNOWN]).mean(0)


def run_with_text(folder, words="red round the"):
    """An untrained run that reads three words."""
    torch.manual_seed(0)
    axes = ("1 0 0", "0 1 0", "0 0 1")
    lines = [f"{word} {axis}" for word, axis in zip(words.split(), axes, strict=True)]
    (folder / "words.txt").write_text("\n".join(lines) + "\n")
    encoder = DomainHeadsEncoder(load_encoder("timm:test_efficientnet", size=32, pretrained=False), 8).eval()
    text = load_text_encoder(f"vectors:{folder / 'words.txt'}")
    tower = TextTower(text, encoder, nn.Linear(3, 8), create_fusion("late", 8)).eval()
    RunFolder.create(folder / "run", "", {"recipe": "none"})
    save_encoder(encoder, folder / "run" / "model", write_extra=lambda place: save_text_tower(tower, place))
    return folder / "run"
