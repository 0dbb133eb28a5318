"""Features at an encoder's own image size: those of a pack of that size, and kept."""

import torch

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.encoders import embed as embeddings
from ssl_sbir.encoders import load_encoder
from ssl_sbir.encoders.embed import embed_rows, embed_rows_at_native_size


def test_features_at_the_own_size_are_a_packs_of_that_size_and_are_kept(shapes, monkeypatch):
    manifest, encoder = open_data(f"folder:{shapes}"), load_encoder("efficientnet_lite0", size=48)
    rows = manifest.find_rows(domain=Domain.PHOTO)[[40, 3, 17]]
    expected = embed_rows(encoder, prepare_pack(manifest, 48), manifest, rows, cache=False)
    torch.testing.assert_close(embed_rows_at_native_size(encoder, manifest, rows), expected)
    monkeypatch.setattr(embeddings, "_compute_features", None)  # a second look computes nothing
    torch.testing.assert_close(embed_rows_at_native_size(encoder, manifest, rows), expected)
