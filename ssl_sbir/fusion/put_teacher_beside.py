"""A run's encoder with its teacher's code beside its own, and the text side of both."""

from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.encoders.teacher_beside import TeacherBesideEncoder
from ssl_sbir.fusion.vocabulary_head import centre_class_rows
from ssl_sbir.fusion.vocabulary_tower import VocabularySide


def put_teacher_beside(
    encoder: Encoder, side: VocabularySide, teacher: str, teacher_size: int
) -> tuple[TeacherBesideEncoder, VocabularySide]:
    """An encoder that embeds photos by the run and by its teacher, and the text side in the teacher's part.

    The teacher's part is as wide as the code: its features in the directions that its classes use most.

    Args:
        encoder: the run's.
        side: the run's, whose classes are the teacher's.
        teacher: its name.
        teacher_size: side of the photos that it classifies, in pixels.

    Raises:
        EncoderError: the teacher is unavailable, or takes smaller images than the run.
        ConfigError: the code is wider than the rank of the teacher's classifier.
    """
    size = max(teacher_size, encoder.preprocess.size)
    frozen = load_encoder(teacher, size=size, fit=encoder.preprocess.fit)
    classifier = frozen.classifier()
    assert classifier is not None  # the run recalls its classes
    head, rows = svd_factorize(classifier, min(encoder.width, *classifier.weight.shape))
    beside = TeacherBesideEncoder(encoder, frozen.requires_grad_(False), head)
    return beside.eval(), side.beside(centre_class_rows(rows.weight))
