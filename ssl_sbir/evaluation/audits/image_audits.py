"""The audits of an evaluation on images: copies by pixel, names on both sides, labels that leak."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.batches import Pack
from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.pixel_hashes import pixel_hashes
from ssl_sbir.data.splits import Split
from ssl_sbir.evaluation.audits.retrieval_audits import (
    Audit,
    diversity_audit,
    label_in_features_audit,
    label_leak_audit,
)
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures

AuditedRows = npt.NDArray[np.int64]
LEAK_AUDIT_PHOTOS = 64


def image_audits(
    features: RetrievalFeatures,
    manifest: Manifest,
    pack: Pack,
    split: Split,
    queries: AuditedRows,
    gallery: AuditedRows,
    embed: Callable[[Manifest, AuditedRows], Float[Tensor, "n d"]],
    trained_classes: Sequence[str],
    labelled_classes: Sequence[str] | None = None,
    trained_images: AuditedRows | None = None,
) -> dict[str, Audit]:
    """All audits, by name.

    Args:
        features: what was compared.
        manifest: the images.
        pack: their pixels.
        split: seen and unseen classes.
        queries: rows of the sketches.
        gallery: rows of the photos.
        embed: features of rows, computed anew; called with true and with permuted labels.
        trained_classes: names whose images training used.
        labelled_classes: those of them whose labels it read; all by default.
        trained_images: hashes of the images that training used, where they are known.
    """
    sample = gallery[:: max(1, len(gallery) // LEAK_AUDIT_PHOTOS)][:LEAK_AUDIT_PHOTOS]
    seen = {domain: manifest.find_rows(domain, split.seen) for domain in Domain}
    known = {domain: pixel_hashes(pack, rows[pack.ok[rows]]) for domain, rows in seen.items()}
    photos, sketches = (pixel_hashes(pack, rows) for rows in (gallery, queries))
    return {
        "gallery copies": _image_copy_audit(photos, known[Domain.PHOTO], "photos"),
        "query copies": _image_copy_audit(sketches, known[Domain.SKETCH], "sketches"),
        "class overlap": _class_overlap_audit(split),
        "unseen names in training": _training_classes_audit(split, trained_classes, labelled_classes),
        "test images in training": _training_images_audit(sketches, photos, trained_images),
        "label leak": label_leak_audit(embed, manifest, sample),
        "label in features": label_in_features_audit(features.gallery, features.gallery_labels),
        "diversity": diversity_audit(features.query, features.query_labels, features.gallery),
    }


def _image_copy_audit(hashes: AuditedRows, known: AuditedRows, what: str) -> Audit:
    """Images that occur twice in the test set, or in both the test set and the seen classes, by their hashes."""
    twice = len(hashes) - len(np.unique(hashes))
    crossing = int(np.isin(np.unique(hashes), known).sum())
    told = [f"{twice:,} of {len(hashes):,} unseen {what} are copies of another"] if twice else []
    told += [f"{crossing:,} unseen {what} are among the seen classes too"] if crossing else []
    return {
        "ok": not told,
        "summary": "; ".join(told) or f"no copies among {what}",
        "copies": twice,
        "in_seen_classes": crossing,
    }


def _class_overlap_audit(split: Split) -> Audit:
    both = sorted(set(split.seen) & set(split.unseen))
    return {"ok": not both, "summary": f"seen and unseen: {', '.join(both)}" if both else "no class overlap"}


def _training_classes_audit(split: Split, trained: Sequence[str], labelled: Sequence[str] | None) -> Audit:
    if not trained:
        return {"ok": None, "summary": "the classes used in training are not recorded"}
    both = _unseen_names_among(trained, split)
    named = both if labelled is None else _unseen_names_among(labelled, split)
    if named:
        told = f"training used {len(named)} unseen class(es): {', '.join(named[:8])}"
    elif both:
        told = f"TRANSDUCTIVE: training saw unlabelled images of {len(both)} unseen classes"
    else:
        told = "no unseen name in training"
    return {"ok": not named, "summary": told, "classes": both, "transductive": bool(both) and not named}


def _unseen_names_among(names: Sequence[str], split: Split) -> list[str]:
    return sorted({normalize_class_name(name) for name in names} & set(split.unseen))


def _training_images_audit(sketches: AuditedRows, photos: AuditedRows, trained: AuditedRows | None) -> Audit:
    """Whether training saw the very images that are tested on, whatever they were called there; all by hashes."""
    if trained is None or not len(trained):
        return {"ok": None, "summary": "the images used in training are not recorded"}
    parts = (("sketches", sketches), ("photos", photos))
    met = {what: int(np.isin(hashes, trained).sum()) for what, hashes in parts}
    told = " and ".join(f"{met[what]:,} of the {len(hashes):,} {what}" for what, hashes in parts if met[what])
    return {
        "ok": True,
        "summary": f"TRANSDUCTIVE: training saw {told} of the test" if told else "no test image in training",
        "transductive": bool(told),
        **met,
    }
