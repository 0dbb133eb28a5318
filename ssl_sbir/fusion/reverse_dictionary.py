"""A dictionary that is asked backwards: from a description to the words whose definitions are most like it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.encoders.class_vocabulary import ClassVocabulary

DEFINITION_TEMPERATURE = 0.03
DESCRIPTION_TEMPERATURE = 0.05  # of the sigmoid that tells descriptions from names
NUM_ENTRIES = 50  # entries that a text is read as; the others' weights hardly count


@dataclass(frozen=True)
class DictionaryEntries:
    """The entries that each of b texts is read as.

    Attributes:
        index: number of each entry.
        weights: how much each counts; they sum to 1.
        names: unit vectors of the entries' names.
    """

    index: Tensor
    weights: Float[Tensor, "b k"]
    names: Float[Tensor, "b k words"]


class ReverseDictionary(nn.Module):
    """Entries by their definitions.

    Args:
        vocabulary: names and definitions.
        names: unit vectors of the names, by a text encoder.
        definitions: unit vectors of the definitions, by the same.
    """

    names: Tensor
    definitions: Tensor

    def __init__(
        self,
        vocabulary: ClassVocabulary,
        names: Float[Tensor, "n words"],
        definitions: Float[Tensor, "n words"],
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.register_buffer("names", names, persistent=False)
        self.register_buffer("definitions", definitions, persistent=False)

    def find_entries(self, words: Float[Tensor, "b words"]) -> DictionaryEntries:
        """The entries whose definitions are nearest to each text."""
        similarity = (words @ self.definitions.T / DEFINITION_TEMPERATURE).softmax(-1)
        nearest = similarity.topk(min(NUM_ENTRIES, similarity.shape[1]), dim=1)
        weights = nearest.values / nearest.values.sum(1, keepdim=True)
        return DictionaryEntries(nearest.indices, weights, self.names[nearest.indices])

    def description_degree(self, words: Float[Tensor, "b words"]) -> Float[Tensor, " b"]:
        """How much each text is a description rather than a name, 0 to 1: by which of the two it is more similar to."""
        by_definition, by_name = (words @ self.definitions.T).amax(1), (words @ self.names.T).amax(1)
        return ((by_definition - by_name) / DESCRIPTION_TEMPERATURE).sigmoid()

    def closest_similarity(self, words: Float[Tensor, "b words"]) -> Float[Tensor, " b"]:
        """The cosine of each text with the nearest definition or name."""
        return torch.maximum((words @ self.definitions.T).amax(1), (words @ self.names.T).amax(1))
