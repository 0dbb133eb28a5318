"""Text sides whose right answer is known, and a run that has one."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from ssl_sbir.encoders import (
    ClassVocabulary,
    DomainHeadsEncoder,
    Encoder,
    Preprocess,
    TokenizationReport,
    embed_vocabulary,
    load_encoder,
    load_text_encoder,
    save_encoder,
)
from ssl_sbir.explain import Explainer, TextQueries
from ssl_sbir.fusion import TextTower, VocabularyTextTower, create_fusion, save_text_tower
from ssl_sbir.fusion.reverse_dictionary import ReverseDictionary
from ssl_sbir.fusion.vocabulary_head import VocabularyHead, centre_class_rows
from ssl_sbir.run import RunFolder

KNOWN = {"red": 0, "round": 1, "the": 2}
# More classes than a text means at most.
COLOUR_WORDS = """ember grass water rust lime ice rose moss ink coal chalk sand plum mint wine clay fog straw leaf sky
blood bone steel honey"""
COLOURS = tuple(COLOUR_WORDS.split())


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


class Painted(Mean):
    """The mean colour of a picture, with a classifier whose classes are named after colours.

    Args:
        labels: names of the classes.
        definitions: of the classes.
    """

    def __init__(self, labels=COLOURS, definitions=()):
        super().__init__()
        self.words = ClassVocabulary("colours", tuple(labels), tuple(definitions) or ("",) * len(labels))

    def classifier(self):
        layer = nn.Linear(3, len(COLOURS))
        layer.weight.data = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(4))
        return layer

    def class_vocabulary(self):
        return self.words

    @property
    def text_source(self):
        return "classifier"


def colour_reader(folder):
    """A text encoder that knows the colours, "glow", which is between ember and rose, and three function words."""
    axes = torch.eye(len(COLOURS))
    known = dict(zip(COLOURS, axes, strict=True)) | {"glow": axes[0] + axes[6]}
    known |= dict.fromkeys(("a", "of", "and"), axes[-1])
    lines = [" ".join([word, *map(str, vector.tolist())]) for word, vector in known.items()]
    (folder / "colours.txt").write_text("\n".join(lines) + "\n")
    return load_text_encoder(f"vectors:{folder / 'colours.txt'}")


def tiny_dictionary(reader, name=""):
    """Three entries: rust is defined as a glow, ice as water and moss, ember as honey."""
    defined = {"rust": "a glow", "ice": "water, moss", "ember": "honey"}
    labels, definitions = (
        [f"{word} {name}".strip() for word in words] for words in (defined, defined.values())
    )
    entries = ClassVocabulary("tiny", tuple(labels), tuple(definitions))
    return ReverseDictionary(entries, reader(labels), reader(definitions))


def painted_tower(folder, encoder, name=""):
    """The text side of a `Painted` encoder."""
    reader = colour_reader(folder)
    head = VocabularyHead(
        encoder.class_vocabulary(),
        centre_class_rows(encoder.classifier().weight),
        embed_vocabulary(encoder.class_vocabulary(), reader),
        tiny_dictionary(reader, name),
        temperature=0.3,
    )
    return VocabularyTextTower(reader, encoder, head, create_fusion("late", encoder.width)).eval()


def explainer_of(encoder, manifest, tower, weights=None):
    """Explains three results among the photos of two shapes."""
    return Explainer(encoder, manifest, ("ring", "cross"), 3, draws=0, texts=TextQueries(tower, weights))
