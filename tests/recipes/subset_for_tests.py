"""What the tests of label-free recipes share: a small part of the benchmark, and retrieval on it."""

import torch
import torch.nn.functional as F

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders.embed import embed_rows


def subset(sketchy_mini, folder, names, domains=("photo", "sketch")):
    """The data spec of a few classes of the benchmark."""
    for domain in domains:
        (folder / domain).mkdir(parents=True)
        for name in names:
            (folder / domain / name).symlink_to(sketchy_mini / domain / name)
    return f"folder:{folder}"


def mean_average_precision(encoder, spec, size=48):
    """Of sketches that ask for the photos of their class, by cosine."""
    manifest = open_data(spec)
    pack = prepare_pack(manifest, size, fit=encoder.preprocess.fit)
    rows = [manifest.find_rows(domain) for domain in (Domain.SKETCH, Domain.PHOTO)]
    query, gallery = (F.normalize(embed_rows(encoder, pack, manifest, r, cache=False)) for r in rows)
    asked, there = (torch.from_numpy(manifest.label[r].astype("int64")) for r in rows)
    total = 0.0
    for vector, label in zip(query, asked, strict=True):
        hits = (there[(gallery @ vector).argsort(descending=True)] == label).float()
        at = hits.nonzero()[:, 0]
        total += float((hits.cumsum(0)[at] / (at + 1)).mean())
    return total / len(query)
