"""Vocabularies of named vectors in the embedding space, to describe drawings and photos by the nearest concepts.

Four kinds, none of which uses the label of a photo that is searched: mean embeddings of classes that are not
searched; the classes of the vocabulary that a text side reads texts by; embedded names, for a text side that was
trained; and mean embeddings of drawings.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.batches import Pack, prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.encoders.class_vocabulary import ClassVocabulary
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.text_encoder import TokenizationReport
from ssl_sbir.explain.attribution.encoded_images import Centres

IMAGES_PER_CLASS = 6


@dataclass(frozen=True)
class Vocabulary:
    """Named concepts with a vector for drawings and one for photos.

    Attributes:
        names: n concepts.
        sketch: [n, d], to compare with embeddings of drawings.
        photo: [n, d], to compare with embeddings of photos.
        source: where the vectors come from, in words.
    """

    names: tuple[str, ...]
    sketch: Float[Tensor, "n d"]
    photo: Float[Tensor, "n d"]
    source: str


def class_prototypes(
    encoder: Encoder,
    manifest: Manifest,
    classes: Sequence[str],
    *,
    excluded_rows: Collection[int] = (),
    centres: Centres | None = None,
    device: str = "cpu",
    per_class: int = IMAGES_PER_CLASS,
) -> Vocabulary | None:
    """The mean unit embedding of some images of each class, for each domain; None for fewer than two classes.

    Give only classes that are not searched, so that no label of a result is used.

    Args:
        manifest: holds the images.
        classes: names of the concepts.
        excluded_rows: rows to leave out, such as the query drawings.
        per_class: most images of a class and domain, evenly spread.
    """
    pack = _prepare_pack(encoder, manifest)
    chosen = {
        domain: _sample_class_rows(manifest, domain, classes, pack, per_class, excluded_rows)
        for domain in Domain
    }
    names = [name for name in classes if all(len(chosen[domain][name]) for domain in Domain)]
    if len(names) < 2:
        return None
    sketch, photo = (
        _mean_class_embeddings(
            encoder, manifest, pack, domain, [chosen[domain][name] for name in names], centres, device
        )
        for domain in Domain
    )
    source = (
        f"{len(names)} classes that are not searched: means of up to {per_class} drawings and {per_class} "
        "photos of each"
    )
    return Vocabulary(tuple(names), sketch, photo, source)


def sketch_prototypes(
    encoder: Encoder,
    manifest: Manifest,
    classes: Sequence[str],
    photos: Float[Tensor, "m d"],
    *,
    excluded_rows: Collection[int] = (),
    centres: Centres | None = None,
    device: str = "cpu",
    per_class: int = IMAGES_PER_CLASS,
) -> Vocabulary | None:
    """The mean unit embedding of some drawings of each class; None for fewer than two classes with drawings.

    No photo's label is used, so any photo may be searched. For photos, all means are shifted so that their mean is
    that of the photos.

    Args:
        manifest: holds the drawings.
        classes: names of the concepts.
        photos: embeddings of the photos that are searched.
        excluded_rows: rows to leave out, such as the query drawings.
        per_class: most drawings of a class, evenly spread.
    """
    pack = _prepare_pack(encoder, manifest)
    chosen = _sample_class_rows(manifest, Domain.SKETCH, classes, pack, per_class, excluded_rows)
    names = [name for name in classes if len(chosen[name])]
    if len(names) < 2:
        return None
    rows = [chosen[name] for name in names]
    sketch = _mean_class_embeddings(encoder, manifest, pack, Domain.SKETCH, rows, centres, device)
    shift = F.normalize(photos, dim=1).mean(0).to(sketch) - sketch.mean(0)
    source = f"{len(names)} classes: means of up to {per_class} drawings of each, without the query and without any photo"
    return Vocabulary(tuple(names), sketch, sketch + shift, source)


def text_vocabulary(text_tower: Any, names: Sequence[str], what: str) -> Vocabulary | None:
    """Names embedded by a run's text encoder, in the space of its photos; None if it knows fewer than two.

    Args:
        text_tower: the text side of a run (`RunFolder.text_tower`).
        names: the concepts; those that its text encoder doesn't know are left out.
        what: what the names are, in words.
    """
    words = {name: name.replace("_", " ") for name in dict.fromkeys(names)}
    reports = {name: text_tower.encoder.tokenization_report(text) for name, text in words.items()}
    known = [name for name, report in reports.items() if _is_understood(report)]
    if len(known) < 2:
        return None
    with torch.no_grad():
        vectors = text_tower([words[name] for name in known]).float().cpu()
    return Vocabulary(
        tuple(known), vectors, vectors, f"{len(known)} {what}, embedded by the run's text encoder"
    )


def directions_vocabulary(
    vocabulary: ClassVocabulary, sketch: Float[Tensor, "n d"], photo: Float[Tensor, "n d"]
) -> Vocabulary:
    """The classes that a text side reads texts by, as concepts; no text encoder is needed.

    Args:
        vocabulary: the classes in words.
        sketch: their directions among drawings.
        photo: their directions among photos (`VocabularySide.rows`).
    """
    drawn, seen = (F.normalize(rows.detach().float().cpu(), dim=1) for rows in (sketch, photo))
    source = f"the {len(vocabulary):,} classes of {vocabulary.name}, by which texts are read"
    return Vocabulary(vocabulary.short_labels, drawn, seen, source)


def _is_understood(report: TokenizationReport) -> bool:
    return report.num_tokens > 0 and not (report.unknown_words or report.corrections)


def _prepare_pack(encoder: Encoder, manifest: Manifest) -> Pack:
    return prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)


def _sample_class_rows(
    manifest: Manifest,
    domain: Domain,
    classes: Sequence[str],
    pack: Pack,
    count: int,
    excluded_rows: Collection[int],
) -> dict[str, npt.NDArray[np.int64]]:
    """Some rows of each class, evenly spread over its readable images."""
    chosen = {}
    for name in classes:
        rows = manifest.find_rows(domain, [name])
        readable = np.setdiff1d(rows[pack.ok[rows]], list(excluded_rows))
        indices = np.linspace(0, len(readable) - 1, min(count, len(readable))).round().astype(int)
        chosen[name] = readable[indices]
    return chosen


def _mean_class_embeddings(
    encoder: Encoder,
    manifest: Manifest,
    pack: Pack,
    domain: Domain,
    rows: Sequence[npt.NDArray[np.int64]],
    centres: Centres | None,
    device: str,
) -> Float[Tensor, "n d"]:
    embeddings = embed_rows(encoder, pack, manifest, np.concatenate(rows), device=device)
    if centres and domain in centres:
        embeddings = embeddings - centres[domain].to(embeddings)
    counts = [len(class_rows) for class_rows in rows]
    return torch.stack([part.mean(0) for part in F.normalize(embeddings, dim=1).split(counts)])
