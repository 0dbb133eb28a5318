"""A small vocabulary, a small dictionary and word vectors that read them, for tests of texts without labels."""

from pathlib import Path

import torch

from ssl_sbir.encoders import ClassVocabulary, TextEncoder, load_text_encoder

SHAPE_VOCABULARY = ClassVocabulary(
    "shapes",
    ("circle, disc", "square", "triangle", "bar"),
    ("a round thing", "a thing with equal sides", "a thing with corners", "a long thing"),
)
SMALL_DICTIONARY = ClassVocabulary(
    "words",
    ("wheel", "box", "pole"),
    ("a round thing that turns", "equal sides and corners", "long and upright"),
)
KNOWN_WORDS = (
    "circle disc square triangle bar round equal sides corners long thing wheel box pole turns upright red"
)


def write_word_vectors(folder: Path, width: int = 24) -> str:
    """Name of a text encoder that knows the words of both."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(len(KNOWN_WORDS.split()), width, generator=generator).tolist()
    lines = [
        " ".join([word, *(f"{value:.4f}" for value in row)])
        for word, row in zip(KNOWN_WORDS.split(), rows, strict=True)
    ]
    (folder / "words.txt").write_text("\n".join(lines) + "\n")
    return f"vectors:{folder / 'words.txt'}"


def load_word_vectors(folder: Path) -> TextEncoder:
    """The text encoder of `write_word_vectors`."""
    return load_text_encoder(write_word_vectors(folder))
