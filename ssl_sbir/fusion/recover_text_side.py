"""The text side of runs that were made before runs exported one: from the teacher head in their last checkpoint."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ssl_sbir.encoders import load_encoder
from ssl_sbir.fusion.teacher_text_side import text_side_of_rows
from ssl_sbir.fusion.vocabulary_tower import VocabularySide

TEACHER_HEAD_KEY = "teacher_head.weight"


def holds_teacher_head(checkpoint: Path) -> bool:
    """Whether a checkpoint's model predicts a teacher's classes; only the file's header is read."""
    try:
        with safe_open(checkpoint / "model.safetensors", framework="pt") as file:
            return TEACHER_HEAD_KEY in file.keys()  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError):
        return False


def recover_text_side(checkpoint: Path, teacher: str) -> VocabularySide | None:
    """The text side that a run's last checkpoint allows; None where its teacher's classes aren't known in words.

    Args:
        checkpoint: a folder for which `holds_teacher_head`.
        teacher: the encoder that the run's settings name as teacher.

    Raises:
        EncoderError: the teacher is unavailable.
    """
    with safe_open(checkpoint / "model.safetensors", framework="pt") as file:
        weight: torch.Tensor = file.get_tensor(TEACHER_HEAD_KEY)
    return text_side_of_rows(load_encoder(teacher), weight)
