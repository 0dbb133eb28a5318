"""What a text means to an encoder that reads it by a vocabulary, and what each class adds to a photo's score."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.explain.text.nearest_concepts import NearConcept, nearest_concepts
from ssl_sbir.fusion.vocabulary_head import VocabularyHead
from ssl_sbir.fusion.vocabulary_tower import VocabularyTextTower

SHOWN_ENTRIES, SHOWN_CONTRIBUTIONS, SHOWN_DRAWING_CLASSES = 5, 6, 5
MIN_ENTRIES_SHARE = 0.005  # a smaller one is 0 %


@dataclass(frozen=True)
class MeantClass:
    """A class that a text means, with its definition and weight; the weights of all classes sum to 1."""

    name: str
    definition: str
    weight: float


@dataclass(frozen=True)
class DefinitionMatch:
    """A dictionary entry that a text is read as because their words are alike; the weights of all entries sum to 1."""

    name: str
    definition: str
    weight: float


@dataclass(frozen=True)
class TextReading:
    """What a text means to an encoder.

    Attributes:
        classes: those with a weight above 0, largest first.
        entries: the dictionary entries that count most, largest first; empty where none counts.
        entries_share: how much of the classes' weights comes from the names of such entries, 0 to 1; the rest comes from
            the text itself.
        drawing: the classes nearest to the drawing, with cosines; empty without a drawing.
        vocabulary: its name.
        size: number of its classes.
        text_encoder: name of the text encoder.
    """

    classes: tuple[MeantClass, ...]
    entries: tuple[DefinitionMatch, ...]
    entries_share: float
    drawing: tuple[NearConcept, ...]
    vocabulary: str
    size: int
    text_encoder: str


@dataclass(frozen=True)
class ClassContribution:
    """What one class adds to a photo's score.

    Attributes:
        name: of the class.
        weight: how much the text means it.
        value: what it adds; negative if it lowers the score.
    """

    name: str
    weight: float
    value: float


@dataclass(frozen=True)
class ClassContributions:
    """The text's part of a photo's score as a sum over the classes of the vocabulary.

    Attributes:
        largest: the largest by absolute value, largest first.
        rest: what all other classes add together.
        num_rest: number of those.
    """

    largest: tuple[ClassContribution, ...]
    rest: float
    num_rest: int


@torch.no_grad()
def read_text(
    tower: VocabularyTextTower,
    text: str,
    drawing: Float[Tensor, " d"] | None = None,
    directions: Float[Tensor, "classes d"] | None = None,
) -> TextReading:
    """What a text, and a drawing beside it, mean to an encoder.

    Args:
        tower: the text side.
        text: of which the text encoder knows a word.
        drawing: its embedding, compared with the same classes.
        directions: of the classes among drawings; by default those among photos.
    """
    vocabulary, words = tower.vocabulary, tower.encoder([text])
    weights = tower.head.class_weights(words)[0]
    order = weights.argsort(descending=True, stable=True)[: int((weights > 0).sum())].tolist()
    classes = tuple(
        MeantClass(vocabulary.short_labels[n], vocabulary.definitions[n], weights[n].item()) for n in order
    )
    near: tuple[NearConcept, ...] = ()
    if drawing is not None:
        rows = tower.head.rows if directions is None else directions
        near = nearest_concepts(drawing, vocabulary.short_labels, rows, SHOWN_DRAWING_CLASSES)
    share, entries = _match_definitions(tower.head, words)
    return TextReading(classes, entries, share, near, vocabulary.name, len(vocabulary), tower.encoder.name)


@torch.no_grad()
def contributions_by_class(
    tower: VocabularyTextTower, text: str, part: Float[Tensor, " d"], photos: Float[Tensor, "k d"]
) -> list[ClassContributions]:
    """What each class adds to the text's part of each photo's score, the product of `part` with the unit photo.

    Args:
        tower: the text side.
        text: of which the text encoder knows a word.
        part: the text's part of the query vector, a multiple of the text's own vector.
        photos: embeddings.
    """
    words, names = tower.encoder([text]), tower.vocabulary.short_labels
    share = (part.to(tower.head.rows) @ tower.to_photo_space(words)[0]).item()
    values = share * tower.head.class_contributions(words[0], F.normalize(photos, dim=1)).double().cpu()
    weights = tower.head.class_weights(words)[0].tolist()
    order = values.abs().argsort(dim=1, descending=True, stable=True)[:, :SHOWN_CONTRIBUTIONS].tolist()
    return [
        ClassContributions(
            tuple(ClassContribution(names[n], weights[n], photo[n].item()) for n in largest),
            (photo.sum() - photo[largest].sum()).item(),
            len(photo) - len(largest),
        )
        for photo, largest in zip(values, order, strict=True)
    ]


def _match_definitions(
    head: VocabularyHead, words: Float[Tensor, "1 words"]
) -> tuple[float, tuple[DefinitionMatch, ...]]:
    """The share of a dictionary in a text's weights, and the entries that count most."""
    share, dictionary = head.dictionary_share(words).item(), head.dictionary
    if dictionary is None or share < MIN_ENTRIES_SHARE:
        return share, ()
    words = words.to(dictionary.definitions)
    entries, vocabulary = dictionary.find_entries(words), dictionary.vocabulary
    return share, tuple(
        DefinitionMatch(vocabulary.short_labels[n], vocabulary.definitions[n], weight)
        for n, weight in zip(
            entries.index[0, :SHOWN_ENTRIES].tolist(),
            entries.weights[0, :SHOWN_ENTRIES].tolist(),
            strict=True,
        )
    )
