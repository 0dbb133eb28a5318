"""Features of images, computed once and cached under the hash of everything they depend on."""

import json
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save
from torch import Tensor

from ssl_sbir.data.batches import Pack
from ssl_sbir.data.image_pack import iter_decoded_chunks, pack_key
from ssl_sbir.data.manifest import Manifest, ManifestRows
from ssl_sbir.encoders.cached_tensors import load_cached_tensor
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.files import cache_dir, sha256_of, write_atomic
from ssl_sbir.progress import show_progress


def embed_rows(
    encoder: Encoder,
    pack: Pack,
    manifest: Manifest,
    rows: ManifestRows,
    *,
    batch_size: int = 64,
    device: str = "cpu",
    cache: bool = True,
) -> Float[Tensor, "n width"]:
    """The features of some rows, float32 on the CPU, in the order of `rows`; read from the cache if they are in it.

    Args:
        encoder: put into evaluation mode.
        pack: the pixels.
        manifest: the domains.
        rows: n row numbers.
        batch_size: images at a time; it changes the features by no more than rounding.
        device: where to compute.
        cache: whether to read and fill the cache.
    """
    key = embeddings_key(encoder, pack, manifest, rows)
    pixels = (pack.read_images(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size))
    return cached_features(
        key, encoder, pixels, manifest.domain[rows], device=device, progress_label="embedding", cache=cache
    )


def embed_rows_at_native_size(
    encoder: Encoder,
    manifest: Manifest,
    rows: ManifestRows,
    *,
    device: str = "cpu",
    cache: bool = True,
) -> Float[Tensor, "n width"]:
    """The features of some rows at the encoder's own image size, cached as in `embed_rows`.

    The images are decoded for this call alone: for a frozen network that is used once, at a larger size than
    training can afford. A broken image is encoded as white paper.

    Args:
        encoder: put into evaluation mode.
        manifest: the images.
        rows: n row numbers.
        device: where to compute.
        cache: whether to read and fill the cache.
    """
    chosen, size, fit = manifest.select_rows(rows), encoder.preprocess.size, encoder.preprocess.fit
    key = sha256_of(encoder_sha256(encoder), pack_key(chosen, size, fit), chosen.domain.tobytes())
    pixels = (
        torch.from_numpy(images).permute(0, 3, 1, 2) for images, _ in iter_decoded_chunks(chosen, size, fit)
    )
    label = f"embedding at {size} px"
    return cached_features(
        key, encoder, pixels, chosen.domain, device=device, progress_label=label, cache=cache
    )


def encoder_sha256(encoder: Encoder) -> str:
    """The hex sha256 of an encoder's architecture, preprocessing and weights."""
    facts = json.dumps([encoder.spec, encoder.preprocess.facts()], sort_keys=True, default=str)
    parts: list[str | bytes] = [facts]
    for name, tensor in sorted(encoder.state_dict().items()):
        parts += [name, tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
    return sha256_of(*parts)


def embeddings_key(encoder: Encoder, pack: Pack, manifest: Manifest, rows: ManifestRows) -> str:
    """The cache key of some rows' features: a hash of weights, pixels, domains and rows."""
    domains = manifest.domain[rows].tobytes()
    return sha256_of(encoder_sha256(encoder), pack.key, np.ascontiguousarray(rows).tobytes(), domains)


def cached_features(
    key: str,
    encoder: Encoder,
    pixels: Iterable[UInt8[Tensor, "b 3 s s"]],
    domain: npt.NDArray[np.integer],
    *,
    device: str = "cpu",
    progress_label: str = "embedding",
    cache: bool = True,
) -> Float[Tensor, "n width"]:
    """The features cached under a key; without them those of `pixels`, which are read only then.

    Args:
        key: hash of everything that the features depend on.
        encoder: put into evaluation mode.
        pixels: n images, in batches.
        domain: of each image.
        device: where to compute.
        progress_label: of the progress bar.
        cache: whether to read and fill the cache.
    """
    path = cache_dir() / "embeddings" / f"{key}.safetensors"
    features = load_cached_tensor(path, "features", (len(domain), encoder.width)) if cache else None
    if features is None:
        domains = torch.from_numpy(domain.astype(np.int64))
        features = _compute_features(encoder, pixels, domains, device, progress_label)
        if cache:
            write_atomic(path, save({"features": features}))
    return features


@torch.no_grad()
def _compute_features(
    encoder: Encoder,
    pixels: Iterable[UInt8[Tensor, "b 3 s s"]],
    domain: Int[Tensor, " n"],
    device: str,
    progress_label: str,
) -> Float[Tensor, "n width"]:
    encoder = encoder.to(device).to(memory_format=torch.channels_last).eval()
    features, done = torch.empty(len(domain), encoder.width), 0
    with show_progress(len(domain), progress_label) as counter:
        for images in pixels:
            image = images.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
            batch = slice(done, done + len(image))
            features[batch] = encoder(image, domain[batch].to(device)).float().cpu()
            done += len(image)
            counter.advance(len(image))
    return features
