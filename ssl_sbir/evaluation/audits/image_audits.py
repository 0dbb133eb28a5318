"""The audits of an evaluation on images: copies by pixel, class overlap, training classes and images, label leaks."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.batches import Pack
from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.manifest import Domain, Manifest, ManifestRows
from ssl_sbir.data.pixel_hashes import pixel_hashes
from ssl_sbir.data.splits import Split
from ssl_sbir.evaluation.audits.retrieval_audits import (
    Audit,
    diversity_audit,
    label_in_features_audit,
    label_leak_audit,
)
from ssl_sbir.evaluation.metrics.validate_features import RetrievalFeatures

ImageHashes = npt.NDArray[np.int64]
LEAK_AUDIT_PHOTOS = 64


def image_audits(
    features: RetrievalFeatures,
    manifest: Manifest,
    pack: Pack,
    split: Split,
    queries: ManifestRows,
    gallery: ManifestRows,
    embed: Callable[[Manifest, ManifestRows], Float[Tensor, "n d"]],
    trained_classes: Sequence[str],
    labelled_classes: Sequence[str] | None = None,
    trained_images: ImageHashes | None = None,
) -> dict[str, Audit]:
    """All audits, by name.

    Args:
        features: of queries and gallery.
        manifest: the images.
        pack: their pixels.
        split: seen and unseen classes.
        queries: rows of the sketches.
        gallery: rows of the photos.
        embed: computes features of rows without a cache; called with true and with permuted labels.
        trained_classes: names of classes whose images training used.
        labelled_classes: those of them whose labels training read; all by default.
        trained_images: hashes of the images that training used, if known.
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


def _image_copy_audit(hashes: ImageHashes, known: ImageHashes, what: str) -> Audit:
    """Images that occur twice in the test set, or in both the test set and the seen classes, by their hashes."""
    copies = len(hashes) - len(np.unique(hashes))
    crossing = int(np.isin(np.unique(hashes), known).sum())
    findings = [f"{copies:,} of {len(hashes):,} unseen {what} are copies of another"] if copies else []
    findings += [f"{crossing:,} unseen {what} are also in seen classes"] if crossing else []
    return {
        "ok": not findings,
        "summary": "; ".join(findings) or f"no copies among {what}",
        "copies": copies,
        "in_seen_classes": crossing,
    }


def _class_overlap_audit(split: Split) -> Audit:
    both = sorted(set(split.seen) & set(split.unseen))
    summary = f"both seen and unseen: {', '.join(both)}" if both else "no class overlap"
    return {"ok": not both, "summary": summary}


def _training_classes_audit(split: Split, trained: Sequence[str], labelled: Sequence[str] | None) -> Audit:
    if not trained:
        return {"ok": None, "summary": "the classes used in training are not recorded"}
    unseen = _unseen_names_among(trained, split)
    named = unseen if labelled is None else _unseen_names_among(labelled, split)
    if named:
        summary = f"training used {len(named)} unseen class(es): {', '.join(named[:8])}"
    elif unseen:
        summary = f"TRANSDUCTIVE: training saw unlabelled images of {len(unseen)} unseen classes"
    else:
        summary = "no unseen class name in training"
    return {
        "ok": not named,
        "summary": summary,
        "classes": unseen,
        "transductive": bool(unseen) and not named,
    }


def _unseen_names_among(names: Sequence[str], split: Split) -> list[str]:
    return sorted({normalize_class_name(name) for name in names} & set(split.unseen))


def _training_images_audit(sketches: ImageHashes, photos: ImageHashes, trained: ImageHashes | None) -> Audit:
    """Whether training used images of the test set, under any name; compared by hashes."""
    if trained is None or not len(trained):
        return {"ok": None, "summary": "the images used in training are not recorded"}
    parts = (("sketches", sketches), ("photos", photos))
    count = {what: int(np.isin(hashes, trained).sum()) for what, hashes in parts}
    seen = " and ".join(
        f"{count[what]:,} of the {len(hashes):,} {what}" for what, hashes in parts if count[what]
    )
    return {
        "ok": True,
        "summary": f"TRANSDUCTIVE: training saw {seen} of the test set"
        if seen
        else "no test image in training",
        "transductive": bool(seen),
        **count,
    }
