"""The encoder to explain: a run's or a named one, with the classes that it hasn't seen."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.encoders.teacher_beside import TeacherBesideEncoder
from ssl_sbir.errors import EncoderError, ExplainError
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary, directions_vocabulary
from ssl_sbir.explain.text.query_text import TextQueries
from ssl_sbir.fusion import TextTower, VocabularySide
from ssl_sbir.fusion.open_text_side import classifier_text_side, open_text_side
from ssl_sbir.fusion.vocabulary_tower import VOCABULARY_KIND
from ssl_sbir.run import PROVENANCE_FILE, RunFolder


@dataclass(frozen=True)
class ExplainedModel:
    """An encoder to explain.

    Attributes:
        name: a run folder or a name of `ssl-sbir encoders`.
        encoder: embeds drawings and photos.
        pages: the folder for its pages.
        split: its split, if any.
        run: its run, if any.
        side: the classes by which texts are read, if the encoder has its teacher's code beside its own.
    """

    name: str
    encoder: Encoder
    pages: Path
    split: Split | None
    run: RunFolder | None = None
    side: VocabularySide | None = None

    def text_queries(self, device: str) -> TextQueries:
        """Reads texts by the text side of the run or the encoder; the encoder is on that device.

        Raises:
            ExplainError: the model has no text side.
            EncoderError: its text encoder is unavailable.
        """
        known = find_known_classes(self.encoder, self.run, self.side)
        return TextQueries(self._open_text_side(device), directions=None if known is None else known.sketch)

    def _open_text_side(self, device: str) -> TextTower:
        if self.side is not None:
            return self.side.load_tower(self.encoder, device)
        if self.run is not None and self.run.takes_text:
            return self.run.text_tower(self.encoder, device)
        if self.run is None and self.encoder.text_source:
            return open_text_side(self.encoder, self.name)
        raise ExplainError(
            f"{self.name} reads drawings, no text", "Leave out --text, or name a run that reads text."
        )

    def gallery_classes(self, gallery: str | None) -> tuple[str, ...] | None:
        """The classes whose photos are searched; None for all.

        Args:
            gallery: `unseen`, `all`, or None for unseen if there is a split.

        Raises:
            ExplainError: an unknown gallery, or unseen classes without a split.
        """
        if gallery not in (None, "unseen", "all"):
            raise ExplainError(f"unknown gallery {gallery!r}", "Choose unseen or all.")
        if gallery == "unseen" and self.split is None:
            raise ExplainError(
                f"{self.name} has no split, so no unseen classes", "Add --split, or --gallery all."
            )
        return None if self.split is None or gallery == "all" else self.split.unseen

    def model_settings(self, gallery: str | None) -> dict[str, str]:
        """The settings of model, split and gallery, as the page shows them."""
        split = self.split
        searched = (
            "photos of all classes" if self.gallery_classes(gallery) is None else "photos of unseen classes"
        )
        named = {"split": f"{split.name} (sha {split.sha256[:8]})"} if split else {}
        return {"encoder": describe_encoder(self.name, self.encoder), **named, "gallery": searched}


def find_known_classes(
    encoder: Encoder, run: RunFolder | None, side: VocabularySide | None = None
) -> Vocabulary | None:
    """The classes by which a run or an encoder reads texts, as concepts; None where it reads them in another way or not.

    No text encoder is loaded.

    Args:
        encoder: embeds drawings and photos.
        run: its run, if any.
        side: the classes where they are known already; by default those of the run or of the encoder's classifier.
    """
    if side is None:
        side = classifier_text_side(encoder) if run is None else _run_vocabulary_side(run)
    if side is None:
        return None
    drawn = side.rows
    if isinstance(encoder, TeacherBesideEncoder) and not drawn[:, : encoder.encoder.width].any():
        # Texts are directions of the teacher's part alone, in which a drawing is 0.
        own = None if run is None else _run_vocabulary_side(run)
        if own is None or len(own.rows) != len(drawn):
            return None
        drawn = F.pad(own.rows, (0, encoder.width - own.rows.shape[1]))
    return directions_vocabulary(side.vocabulary, drawn, side.rows)


def _run_vocabulary_side(run: RunFolder) -> VocabularySide | None:
    with suppress(EncoderError):  # the teacher that an older run's classes come from is unavailable
        return run.vocabulary_side()
    return None


def describe_encoder(name: str, encoder: Encoder) -> str:
    """An encoder as a page's settings name it."""
    return f"{name}, its teacher's code beside its own" if isinstance(encoder, TeacherBesideEncoder) else name


def has_trained_text_side(run: RunFolder | None) -> bool:
    """Whether a run was trained to read text, in contrast to one that reads it by the words of a classifier."""
    return run is not None and run.text_kind not in ("", VOCABULARY_KIND)


def load_explained_model(
    name: str, manifest: Manifest, split: str | None = None, *, with_teacher: bool = False
) -> ExplainedModel:
    """The model of a run folder, or the encoder of that name.

    Args:
        name: a run folder, or a name of `ssl-sbir encoders`.
        manifest: the data; a split is restricted to its classes.
        split: a published split or JSON file instead of the run's own.
        with_teacher: for a run that recalls a teacher, embed photos by the teacher too, as a search for texts does.

    Raises:
        RunError, EncoderError, DataError: model or split can't be loaded.
    """
    chosen = Split.from_name(split, manifest.classes) if split else None
    folder = Path(name)
    if not (folder / PROVENANCE_FILE).is_file():
        return ExplainedModel(name, load_encoder(name), Path("explanations"), chosen)
    run = RunFolder.open(folder)
    run_split = run.provenance.get("split")
    beside = run.encoder_with_teacher() if with_teacher else None
    encoder, side = beside or (run.encoder(), None)
    return ExplainedModel(
        str(folder),
        encoder,
        folder / "explain",
        chosen or (Split.from_facts(run_split) if run_split else None),
        run,
        side,
    )
