"""The text side of an index: a vocabulary of its owner's, or another text encoder than the model's own."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name, printable_name
from ssl_sbir.encoders import load_text_encoder
from ssl_sbir.encoders.class_vocabulary import ClassVocabulary, read_vocabulary_file
from ssl_sbir.encoders.model_folder import CONFIG_FILE, write_model_files
from ssl_sbir.errors import QueryError
from ssl_sbir.files import atomic_folder
from ssl_sbir.fusion.export_text_side import TEXT_TOWER_FOLDER, load_vocabulary_side
from ssl_sbir.fusion.vocabulary_head import centre_class_rows
from ssl_sbir.fusion.vocabulary_tower import DEFAULT_TEXT_ENCODER, VocabularySide
from ssl_sbir.gallery.base import Gallery
from ssl_sbir.search.model import SearchModel

MEAN_BATCH = 4096  # vectors in memory while class means are computed


def vocabulary_side_of_photos(
    vocabulary: ClassVocabulary, gallery: Gallery, text_encoder: str = DEFAULT_TEXT_ENCODER
) -> tuple[VocabularySide, list[str]]:
    """A text side whose directions are the mean vectors of the photos of each class, and the names without photos.

    Args:
        vocabulary: names of classes; a photo's class is the folder it lies in.
        gallery: the indexed photos.
        text_encoder: name of the encoder that will read the texts.

    Raises:
        QueryError: fewer than two names have photos.
    """
    ids_by_name = defaultdict[str, list[str]](list)
    for photo_id, metadata in gallery.items():
        if name := metadata.get("label") or PurePosixPath(photo_id).parent.name:
            ids_by_name[normalize_class_name(name)].append(photo_id)
    found = [ids_by_name.get(normalize_class_name(name), []) for name in vocabulary.short_labels]
    chosen = [index for index, ids in enumerate(found) if ids]
    missing = [vocabulary.short_labels[index] for index, ids in enumerate(found) if not ids]
    if len(chosen) < 2:
        named = ", ".join(printable_name(name) for name in list(ids_by_name)[:5]) or "none"
        raise QueryError(
            f"{len(chosen)} of the vocabulary's {len(vocabulary)} names is the name of a folder of indexed photos",
            f"It takes two: put example photos into folders of these names (folders with photos: {named}).",
        )
    part = ClassVocabulary(
        vocabulary.name,
        tuple(vocabulary.labels[index] for index in chosen),
        tuple(vocabulary.definitions[index] for index in chosen),
    )
    means = torch.stack([_mean_vector(gallery, found[index]) for index in chosen])
    return VocabularySide(part, centre_class_rows(means), text_encoder).use_row_spread(), missing


def _mean_vector(gallery: Gallery, ids: Sequence[str]) -> Float[Tensor, " d"]:
    total = sum(
        gallery.get_vectors(ids[start : start + MEAN_BATCH]).sum(0)
        for start in range(0, len(ids), MEAN_BATCH)
    )
    assert isinstance(total, Tensor)
    return total / len(ids)


@dataclass(frozen=True)
class IndexTextOptions:
    """How texts are to be read in an index, checked before its photos are embedded.

    Attributes:
        text_encoder: name of the encoder that reads the texts.
        vocabulary: the owner's; None for the model's own classes.
        model_side: the model's own classes; None with a vocabulary.
    """

    text_encoder: str
    vocabulary: ClassVocabulary | None
    model_side: VocabularySide | None

    @classmethod
    def from_request(
        cls, model: SearchModel, vocabulary_file: str | Path | None, text_encoder: str | None
    ) -> "IndexTextOptions | None":
        """The options of a request; None where the model's own text side is to be used.

        Args:
            model: of the index.
            vocabulary_file: the owner's vocabulary, see `read_vocabulary_file`.
            text_encoder: name of the encoder that reads the texts; MiniLM by default.

        Raises:
            ConfigError, QueryError, EncoderError: vocabulary or text encoder can't be used.
        """
        if vocabulary_file is None and text_encoder is None:
            return None
        name = text_encoder or DEFAULT_TEXT_ENCODER
        load_text_encoder(name)  # raises at once where it is not available
        if vocabulary_file is not None:
            return cls(name, read_vocabulary_file(vocabulary_file), None)
        if model.vocabulary_side is None:
            raise QueryError(
                "this model reads texts by no classifier, so no other text encoder fits it",
                "Leave out --text-encoder, or give --vocabulary FILE as well.",
            )
        return cls(name, None, model.vocabulary_side)


def write_index_text_side(index: Path, gallery: Gallery, options: IndexTextOptions) -> list[str]:
    """Gives an index a text side of its own; returns what is to be said about it.

    Args:
        index: its folder.
        gallery: its photos.
        options: how texts are to be read.

    Raises:
        QueryError: fewer than two names of the vocabulary have photos.
    """
    name, notes = options.text_encoder, list[str]()
    if options.vocabulary is not None:
        side, missing = vocabulary_side_of_photos(options.vocabulary, gallery, name)
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            names = ", ".join(printable_name(one) for one in missing[:3])
            notes.append(f"words without example photos, left out: {names}{more}")
    else:
        assert options.model_side is not None
        side = VocabularySide(options.model_side.vocabulary, options.model_side.rows, name)
        side.fusion.load_state_dict(options.model_side.fusion.state_dict())
    with atomic_folder(index / TEXT_TOWER_FOLDER) as draft:
        write_model_files(draft, side, side.to_spec())
    return notes


def load_index_text_side(index: Path) -> VocabularySide | None:
    """The text side of an index's own; None where the model's is to be used.

    Raises:
        RunError: it is damaged.
    """
    if not (index / TEXT_TOWER_FOLDER / CONFIG_FILE).is_file():
        return None
    return load_vocabulary_side(index)


def remove_index_text_side(index: Path) -> None:
    """Removes the text side of an index's own, which fits no other model."""
    shutil.rmtree(index / TEXT_TOWER_FOLDER, ignore_errors=True)
