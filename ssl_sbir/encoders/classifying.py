"""Encoders that may come with a linear classifier of their features, and with the words of its classes."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ssl_sbir.encoders.class_vocabulary import ClassVocabulary
from ssl_sbir.encoders.encoder import Encoder, Preprocess

VocabularyReader = Callable[[], ClassVocabulary]


class ClassifyingEncoder(Encoder):
    """An encoder with the linear classifier of its weights, if they have one (`keep_classifier`).

    The classifier is neither trained nor exported with the encoder.
    """

    def __init__(self, spec: dict[str, Any], preprocess: Preprocess, width: int) -> None:
        super().__init__(spec, preprocess, width)
        self._head: tuple[nn.Linear] | None = None
        self._read_vocabulary: VocabularyReader | None = None

    def keep_classifier(self, head: nn.Linear, read_vocabulary: VocabularyReader | None = None) -> None:
        """Keeps a copy of a classifier of the features.

        Args:
            head: feature in, logits of the classes out.
            read_vocabulary: gives the words of its classes, in the order of the logits; called when they are asked for.
        """
        # In a tuple, so that it isn't registered as a part of this module.
        self._head, self._read_vocabulary = (_copy_linear(head),), read_vocabulary

    def classifier(self) -> nn.Linear | None:
        """A copy of the linear classifier, on this encoder's device; None if the weights had none."""
        return None if self._head is None else _copy_linear(self._head[0]).to(self.mean.device)

    def class_vocabulary(self) -> ClassVocabulary | None:
        """The words of `classifier()`'s rows, or None if they are unknown."""
        if self._head is None or self._read_vocabulary is None:
            return None
        vocabulary = self._read_vocabulary()
        return vocabulary if len(vocabulary) == self._head[0].out_features else None

    @property
    def text_source(self) -> str:
        """Whether there is a classifier whose classes are known in words: "classifier", else empty."""
        return "classifier" if self._head is not None and self._read_vocabulary is not None else ""


def _copy_linear(head: nn.Linear) -> nn.Linear:
    copy = nn.Linear(head.in_features, head.out_features, bias=head.bias is not None)
    copy.load_state_dict({name: value.detach().float() for name, value in head.state_dict().items()})
    return copy
