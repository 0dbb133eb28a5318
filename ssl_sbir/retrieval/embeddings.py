"""Embeddings of images, computed once and kept under the hash of everything they depend on."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ssl_sbir.data.loading import Pack, load_batch
from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.packs import decoded, pack_key
from ssl_sbir.encoders import Encoder
from ssl_sbir.files import cache_dir, sha256_of, write_atomic
from ssl_sbir.progress import progress


def embed(
    encoder: Encoder,
    pack: Pack,
    manifest: Manifest,
    rows: npt.NDArray[np.int64],
    *,
    batch_size: int = 64,
    device: str = "cpu",
    cache: bool = True,
) -> Float[Tensor, "n width"]:
    """The features of some rows, float32 on the CPU, in the given order; taken from the cache if they are there.

    Args:
        encoder: put into evaluation mode.
        pack: the pixels.
        manifest: the domains.
        rows: n row numbers.
        batch_size: images at a time; the features don't depend on it beyond rounding.
        device: where to compute.
        cache: whether to read and fill the cache.
    """
    path = cache_dir() / "embeddings" / f"{embeddings_key(encoder, pack, manifest, rows)}.safetensors"
    found = _cached(path, (len(rows), encoder.width)) if cache else None
    if found is not None:
        return found
    features = _computed(encoder, pack, manifest, rows, batch_size, device)
    if cache:
        write_atomic(path, save({"features": features}))
    return features


def embed_at_own_size(
    encoder: Encoder,
    manifest: Manifest,
    rows: npt.NDArray[np.int64],
    *,
    device: str = "cpu",
    cache: bool = True,
) -> Float[Tensor, "n width"]:
    """The features of some rows at the encoder's own image size, decoded for this alone; cached as `embed` does.

    For a frozen network that is asked once and sees more at a larger size than training affords. A broken
    image counts as white paper.

    Args:
        encoder: put into evaluation mode.
        manifest: the images.
        rows: n row numbers.
        device: where to compute.
        cache: whether to read and fill the cache.
    """
    chosen, size, fit = manifest.select(rows), encoder.preprocess.size, encoder.preprocess.fit
    key = sha256_of(weights_sha256(encoder), pack_key(chosen, size, fit), chosen.domain.tobytes())
    path = cache_dir() / "embeddings" / f"{key}.safetensors"
    found = _cached(path, (len(rows), encoder.width)) if cache else None
    if found is not None:
        return found
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) for images, _ in decoded(chosen, size, fit))
    features = _streamed(encoder, pixels, torch.from_numpy(chosen.domain.astype(np.int64)), device)
    if cache:
        write_atomic(path, save({"features": features}))
    return features


@torch.no_grad()
def _streamed(
    encoder: Encoder, pixels: Iterable[UInt8[Tensor, "b 3 s s"]], domain: Int[Tensor, " n"], device: str
) -> Float[Tensor, "n width"]:
    encoder = encoder.to(device).to(memory_format=torch.channels_last).eval()
    features, done = torch.empty(len(domain), encoder.width), 0
    with progress(len(domain), f"embedding at {encoder.preprocess.size} px") as counter:
        for images in pixels:
            image = images.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
            here = slice(done, done + len(image))
            features[here] = encoder(image, domain[here].to(device)).float().cpu()
            done += len(image)
            counter.advance(len(image))
    return features


def weights_sha256(encoder: Encoder) -> str:
    """The hex sha256 of an encoder's architecture, preprocessing and weights."""
    state = encoder.state_dict()
    facts = json.dumps([encoder.spec, encoder.preprocess.facts()], sort_keys=True, default=str)
    parts: list[str | bytes] = [facts]
    for name, tensor in sorted(state.items()):
        parts += [name, tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
    return sha256_of(*parts)


def embeddings_key(encoder: Encoder, pack: Pack, manifest: Manifest, rows: npt.NDArray[np.int64]) -> str:
    """The hash that embeddings are filed under: weights, pixels, domains and rows."""
    domains = manifest.domain[rows].tobytes()
    return sha256_of(weights_sha256(encoder), pack.key, np.ascontiguousarray(rows).tobytes(), domains)


@torch.no_grad()
def _computed(
    encoder: Encoder,
    pack: Pack,
    manifest: Manifest,
    rows: npt.NDArray[np.int64],
    batch_size: int,
    device: str,
) -> Float[Tensor, "n width"]:
    encoder = encoder.to(device).to(memory_format=torch.channels_last).eval()
    features = torch.empty(len(rows), encoder.width)
    with progress(len(rows), "embedding") as counter:
        for start in range(0, len(rows), batch_size):
            batch = load_batch(pack, manifest, rows[start : start + batch_size]).to(device)
            features[start : start + batch_size] = encoder(batch.image, batch.domain).float().cpu()
            counter.advance(len(batch))
    return features


def _cached(path: Path, shape: tuple[int, int]) -> Float[Tensor, "n width"] | None:
    if not path.is_file():
        return None
    try:
        features = load_file(path)["features"]
        if features.shape == shape and features.dtype == torch.float32:
            return features
        why = f"it holds {features.dtype} {list(features.shape)}"
    except (SafetensorError, KeyError, OSError) as error:
        why = str(error)
    print(f"cached embeddings {path.name} are damaged ({why}): computing them anew", file=sys.stderr)
    return None
