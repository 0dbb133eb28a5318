"""The text side that needs no label: texts through the words of a classifier, for any encoder that has or recalls one."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.encoders import Encoder, TextEncoder, load_text_encoder
from ssl_sbir.encoders.class_vocabulary import (
    ClassVocabulary,
    embed_texts_cached,
    embed_vocabulary,
    imagenet_vocabulary,
)
from ssl_sbir.files import sha256_of
from ssl_sbir.fusion.calibration import class_spread
from ssl_sbir.fusion.fusion_kinds import LateFusion
from ssl_sbir.fusion.reverse_dictionary import ReverseDictionary
from ssl_sbir.fusion.text_notes import describe_text_doubts
from ssl_sbir.fusion.text_tower import TextTower
from ssl_sbir.fusion.vocabulary_head import VocabularyHead

VOCABULARY_KIND = "vocabulary"
DEFAULT_TEXT_ENCODER = "minilm"
DICTIONARY_NAME = "imagenet-12k"  # 11,821 things that can be photographed, with WordNet's definitions
# Chosen on classes that are seen in both published splits of Sketchy (docs/text-queries.md), not run by run: which weight
# lets a drawing keep a share of 0, .05, …, 1 of the top ten against the name of another class, and the share by default.
# Names leave a drawing the least, sentences more.
DRAWING_WEIGHTS = (
    *(0.0, 0.247, 0.278, 0.299, 0.315, 0.330, 0.343, 0.356, 0.368, 0.381, 0.393),
    *(0.405, 0.418, 0.432, 0.447, 0.465, 0.487, 0.513, 0.547, 0.614, 1.0),
)
DRAWING_SHARE = 0.15
# A text whose largest weight is smaller means no class clearly: 1 in 18 names of published data's classes, 13 of 30 texts
# without sense (ImageNet's classes, MiniLM).
MIN_LARGEST_WEIGHT = 0.15
MIN_SIMILARITY = 0.4  # of 250 sentences about things none is less similar to every entry, by MiniLM


class VocabularySide(nn.Module):
    """What an image encoder brings to a text side: its classes in words, and their directions.

    A run exports it; no text encoder is needed until a text is read.

    Args:
        vocabulary: n classes in words.
        rows: the direction of each class in the photos' space, `centre_class_rows` of a classifier.
        text_encoder: name of the text encoder that will read the texts.

    Attributes:
        fusion: of a drawing with a text.
    """

    rows: Tensor

    def __init__(
        self,
        vocabulary: ClassVocabulary,
        rows: Float[Tensor, "classes d"],
        text_encoder: str = DEFAULT_TEXT_ENCODER,
    ) -> None:
        super().__init__()
        self.vocabulary, self.text_encoder = vocabulary, text_encoder
        self.register_buffer("rows", rows.detach().float().cpu())
        self.fusion = LateFusion(rows.shape[1])
        self.fusion.mixing.copy_(torch.tensor(DRAWING_WEIGHTS))
        self.fusion.share.fill_(DRAWING_SHARE)

    def beside(self, teacher_rows: Float[Tensor, "classes t"]) -> "VocabularySide":
        """The side of the same classes for a `TeacherBesideEncoder`: their directions in the teacher's part.

        Each part of the spread is that of its own rows: a drawing's scores spread by the first, a text's by the second.
        """
        rows = torch.cat([torch.zeros(len(self.rows), self.fusion.width), teacher_rows.cpu()], 1)
        side = VocabularySide(self.vocabulary, rows, self.text_encoder)
        parts = (self.fusion.spread, spread_of_rows(teacher_rows.cpu()))
        side.fusion.spread.copy_(torch.block_diag(*parts))
        side.fusion.mixing.copy_(self.fusion.mixing)
        side.fusion.share.copy_(self.fusion.share)
        return side

    def use_row_spread(self) -> "VocabularySide":
        """This side, with the spread of its classes' directions as that of the photos' classes."""
        self.fusion.spread.copy_(spread_of_rows(self.rows))
        return self

    def to_spec(self) -> dict[str, Any]:
        """What `load_text_tower` needs besides the weights, JSON-able."""
        return {
            "kind": VOCABULARY_KIND,
            "text_encoder": {"name": self.text_encoder},
            "width": self.fusion.width,
            "vocabulary": self.vocabulary.facts(),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> "VocabularySide":
        """A side to be filled with weights.

        Raises:
            KeyError, TypeError, ValueError: the spec is damaged.
        """
        vocabulary = ClassVocabulary.from_facts(spec["vocabulary"])
        rows = torch.zeros(len(vocabulary), int(spec["width"]))
        return cls(vocabulary, rows, str(spec["text_encoder"]["name"]))

    def load_tower(self, image_encoder: Encoder, device: str = "cpu") -> "VocabularyTextTower":
        """`open_tower` with the text encoder of this side, on a device.

        Raises:
            EncoderError: the text encoder is unavailable.
        """
        words = load_text_encoder(self.text_encoder, device=device)
        return self.open_tower(words, image_encoder).to(device)

    def open_tower(self, encoder: TextEncoder, image_encoder: Encoder) -> "VocabularyTextTower":
        """The text side of an image encoder, in evaluation mode, on its device.

        Args:
            encoder: reads the texts; its vectors of the vocabulary and of the dictionary are computed once and cached.
            image_encoder: of photos and drawings.
        """
        head = VocabularyHead(
            self.vocabulary,
            self.rows,
            embed_vocabulary(self.vocabulary, encoder),
            load_reverse_dictionary(encoder),
        )
        tower = VocabularyTextTower(encoder, image_encoder, head, self.fusion)
        return tower.to(image_encoder.mean.device).eval()


class VocabularyTextTower(TextTower):
    """A text tower whose head is a `VocabularyHead`."""

    head: VocabularyHead

    @property
    def vocabulary(self) -> ClassVocabulary:
        """The classes in words."""
        return self.head.vocabulary

    @torch.no_grad()
    def class_weights(self, texts: Sequence[str]) -> Float[Tensor, "b classes"]:
        """How much each class of the vocabulary is meant by each text."""
        return self.head.class_weights(self.encoder(texts))

    def describe_doubts(self, text: str) -> list[str]:
        """What is doubtful about how a text is read, a sentence each."""
        doubts = super().describe_doubts(text) + describe_text_doubts(text)
        words = self.encoder([text])
        if float(self.head.closest_similarity(words)) < MIN_SIMILARITY:
            return [*doubts, "it is like no word that the encoder knows, so the results mean little"]
        largest = float(self.head.class_weights(words).amax())
        if largest < MIN_LARGEST_WEIGHT:
            count = len(self.vocabulary)
            doubts.append(
                f"it means none of the {count:,} classes clearly: the largest weight is only {largest:.2f} of 1"
            )
        return doubts

    def facts(self) -> dict[str, Any]:
        """What a text's vector depends on, JSON-able: vocabulary, text encoder, temperature, and the hash of all."""
        dictionary = self.head.dictionary
        parts = {
            "vocabulary": {"name": self.vocabulary.name, "sha256": self.vocabulary.sha256},
            "dictionary": None if dictionary is None else dictionary.vocabulary.name,
            "text_encoder": self.encoder.facts(),
            "temperature": self.head.temperature,
        }
        rows = self.head.rows.cpu().contiguous().numpy().tobytes()
        return {**parts, "sha256": sha256_of(str(parts), rows)}


def spread_of_rows(rows: Float[Tensor, "classes d"]) -> Float[Tensor, "d d"]:
    """The `class_spread` of a classifier's classes, with their directions in place of their mean photos."""
    return class_spread(F.normalize(rows.float(), dim=1), torch.arange(len(rows)))


def load_reverse_dictionary(encoder: TextEncoder) -> ReverseDictionary:
    """The dictionary in a text encoder's vectors, computed once and cached."""
    vocabulary = _read_dictionary_words()
    return ReverseDictionary(
        vocabulary,
        embed_texts_cached(vocabulary.labels, encoder),
        embed_texts_cached(vocabulary.definitions, encoder),
    )


def _read_dictionary_words() -> ClassVocabulary:
    return imagenet_vocabulary(DICTIONARY_NAME)
