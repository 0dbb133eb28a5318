"""The text side of a run that recalls a teacher: the teacher's words, in the directions of the run's teacher head."""

from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.encoders import Encoder
from ssl_sbir.fusion.vocabulary_head import centre_class_rows
from ssl_sbir.fusion.vocabulary_tower import VocabularySide


def trained_text_side(teacher: Encoder, teacher_head: nn.Linear, weight: float) -> VocabularySide | None:
    """The text side that a run exports: its teacher's words, in the directions of its teacher head.

    Args:
        teacher: knows its classes in words.
        teacher_head: predicts the teacher's classes from the embedding.
        weight: of the distillation; at 0 the head isn't trained, and there is no text side.
    """
    return text_side_of_rows(teacher, teacher_head.weight) if weight else None


def text_side_of_rows(teacher: Encoder, rows: Float[Tensor, "classes d"]) -> VocabularySide | None:
    """The text side of an encoder whose embeddings predict a teacher's classes; None if these have no names.

    Args:
        teacher: knows its classes in words.
        rows: weight of the layer that predicts the teacher's classes from the embedding.
    """
    vocabulary = teacher.class_vocabulary()
    if vocabulary is None or len(vocabulary) != len(rows):
        return None
    return VocabularySide(vocabulary, centre_class_rows(rows)).use_row_spread()
