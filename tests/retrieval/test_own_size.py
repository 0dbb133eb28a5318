"""Features at an encoder's own image size: those of a pack of that size, and kept."""

import torch

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.packs import prepare
from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import load_encoder
from ssl_sbir.retrieval import embeddings
from ssl_sbir.retrieval.embeddings import embed, embed_at_own_size


def test_features_at_the_own_size_are_a_packs_of_that_size_and_are_kept(shapes, monkeypatch):
    manifest, encoder = open_data(f"folder:{shapes}"), load_encoder("efficientnet_lite0", size=48)
    rows = manifest.rows(domain=Domain.PHOTO)[[40, 3, 17]]
    expected = embed(encoder, prepare(manifest, 48), manifest, rows, cache=False)
    torch.testing.assert_close(embed_at_own_size(encoder, manifest, rows), expected)
    monkeypatch.setattr(embeddings, "_computed", None)  # a second look computes nothing
    torch.testing.assert_close(embed_at_own_size(encoder, manifest, rows), expected)
